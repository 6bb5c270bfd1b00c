"""Settings of the augmentation of training images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from classifier_training.config.section import Fraction, PositiveFloat, Section

Sigma = Annotated[float, Field(gt=0.0, le=20.0)]


class AugmentationConfig(Section):
    """How training images are cropped and changed; a part of the section ``data``."""

    train_scale: tuple[Annotated[float, Field(gt=0.0, le=1.0)], Annotated[float, Field(gt=0.0, le=1.0)]] = Field(
        (0.35, 1.0), strict=False, description="area range of the random resized crop"
    )
    train_ratio: tuple[PositiveFloat, PositiveFloat] = Field(
        (0.75, 4 / 3), strict=False, description="aspect ratio range of the random resized crop"
    )
    hflip: Fraction = Field(0.5, description="probability of a horizontal flip in training")
    vflip: Fraction = Field(0.0, description="probability of a vertical flip in training")
    auto_augment: Literal["none", "randaugment", "trivialaugment", "augmix", "3augment"] = Field(
        "none",
        description="automatic augmentation policy in training; 3augment: greyscale, solarization or blur, a third of"
        " the images each",
    )
    randaugment_magnitude: Annotated[float, Field(ge=0.0, le=30.0)] = Field(
        9.0, description="strength of randaugment's operations, as in torchvision; timm counts to 10 instead"
    )
    randaugment_num_ops: Annotated[int, Field(ge=1, le=10)] = Field(
        2, description="operations of randaugment on each image"
    )
    randaugment_mstd: Annotated[float, Field(ge=0.0, le=30.0)] = Field(
        0.0, description="standard deviation of the magnitude from operation to operation"
    )
    augmix_severity: Annotated[float, Field(ge=1.0, le=10.0)] = Field(
        3.0, description="largest strength of augmix's operations"
    )
    augmix_width: Annotated[int, Field(ge=1, le=10)] = Field(3, description="chains of operations that augmix mixes")
    augmix_depth: Annotated[int, Field(ge=1, le=10)] | None = Field(
        None, description="operations of each chain of augmix; null: 1 to 3"
    )
    augmix_alpha: Annotated[float, Field(ge=0.1, le=100.0)] = Field(
        1.0, description="how evenly augmix mixes: parameter of its Dirichlet and Beta distributions"
    )
    color_jitter: Fraction = Field(0.2, description="strength of brightness, contrast and saturation jitter")
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = Field(
        0.0, description="largest turn of the hues in training, as a share of the colour circle"
    )
    grayscale: Fraction = Field(0.0, description="probability that a training image loses its colours")
    gaussian_blur: Fraction = Field(0.0, description="probability of a blur in training")
    gaussian_blur_sigma: tuple[Sigma, Sigma] = Field(
        (0.1, 2.0), strict=False, description="range of the standard deviation of a blur, pixels of the model's input"
    )
    random_erasing: Fraction = Field(0.0, description="probability of random erasing in training")

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Ranges that fall, and settings of a policy that is not chosen."""
        yield from super()._conflicts()
        for name in ("train_scale", "train_ratio", "gaussian_blur_sigma"):
            low, high = getattr(self, name)
            if low > high:
                yield (name,), "must rise, as [smallest, largest]"
        for name, field in type(self).model_fields.items():
            policy = name.partition("_")[0]
            is_idle = policy in {"randaugment", "augmix"} and self.auto_augment != policy
            if is_idle and getattr(self, name) != field.default:
                yield (name, "auto_augment"), f"{name} is used by auto_augment={policy} only"
        if self.gaussian_blur_sigma != (0.1, 2.0) and not self.gaussian_blur and self.auto_augment != "3augment":
            yield (
                ("gaussian_blur_sigma", "gaussian_blur"),
                "no image is blurred; set gaussian_blur, or auto_augment=3augment",
            )
