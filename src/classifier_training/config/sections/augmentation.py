"""Settings of the augmentation of training images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from classifier_training.config.section import Fraction, PositiveFloat, Section


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
    auto_augment: Literal["none", "randaugment", "trivialaugment"] = Field(
        "none", description="automatic augmentation policy in training"
    )
    color_jitter: Fraction = Field(0.2, description="strength of brightness, contrast and saturation jitter")
    random_erasing: Fraction = Field(0.0, description="probability of random erasing in training")

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Ranges that fall."""
        yield from super()._conflicts()
        for name in ("train_scale", "train_ratio"):
            low, high = getattr(self, name)
            if low > high:
                yield (name,), "must rise, as [smallest, largest]"
