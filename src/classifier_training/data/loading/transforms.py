"""Training augmentation: uint8 image in, uint8 square out, all randomness from the position in the epoch.

Crop, resize and flips are ours and write straight into the batch; what changes colours is torchvision's, on Pillow
images, which it handles faster than tensors. The evaluation transform is `classifier_training.imaging.preprocess`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from classifier_training.config.schema import DataConfig
from classifier_training.data.loading.crops import Crop, Randomness
from classifier_training.data.loading.resampling import as_images, resize_kernel
from classifier_training.imaging.jpeg import largest_shrink
from classifier_training.types import Preprocessing


class TrainTransform:
    """Random resized crop, flips, policy and colour augmentation, random erasing.

    Args:
        preprocessing: Input size, interpolation, and the mean colour that erased parts get.
        config: Strength of every augmentation.
    """

    def __init__(self, preprocessing: Preprocessing, config: DataConfig) -> None:
        self.image_size = preprocessing.image_size
        self.interpolation = preprocessing.interpolation
        self.resize = resize_kernel(preprocessing.interpolation)
        self.config = config
        self.colour = _colour(config)
        self.erasing: v2.Transform | None = None
        if config.random_erasing > 0:
            mean_colour = [round(255 * value) for value in preprocessing.mean]
            self.erasing = v2.RandomErasing(config.random_erasing, value=mean_colour, inplace=True)

    def crop(self, size: tuple[int, int], random: Randomness) -> Crop:
        """The part of an image of this width and height that is cropped."""
        return random.crop(size, self.config.train_scale, self.config.train_ratio)

    def shrink(self, crop: Crop) -> int:
        """What the sides of an image can be divided by while it is decoded: as much as leaves S pixels of the crop.

        Not for the nearest pixel: that of a smaller image would be the mean of several.
        """
        if self.interpolation == "nearest":
            return 1
        return largest_shrink(min(crop.width, crop.height), self.image_size)

    def __call__(self, pixels: NDArray[np.uint8], random: Randomness, output: Tensor) -> None:
        """Makes the model's input, not normalised, from a crop.

        Args:
            pixels: uint8 (H, W, 3), RGB: what `crop` takes of the image; may be read-only.
            random: The random numbers of the sample.
            output: uint8 (1, 3, S, S), channels last, filled.
        """
        images = as_images(pixels)
        horizontally, vertically = random.flips(self.config.hflip, self.config.vflip)
        if horizontally or vertically:
            images = images.flip([3] * horizontally + [2] * vertically)
        self.resize(images, (self.image_size, self.image_size), output)
        if self.colour is None and self.erasing is None:
            return
        with seeded(random.seed):
            if self.colour is not None:
                square = output[0].permute(1, 2, 0).numpy()
                square[:] = np.asarray(self.colour(Image.fromarray(square)))
            if self.erasing is not None:
                self.erasing(output[0])


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds torch's global generator, which torchvision uses, and restores its state afterwards."""
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


class _WholeSteps:
    """Moves images without interpolation: policies move them by whole pixels, which looks the same and is faster."""

    def _apply_image_or_video_transform(
        self, image: Any, transform_id: str, magnitude: float, interpolation: Any, fill: Any
    ) -> Any:
        if transform_id in {"TranslateX", "TranslateY"}:
            interpolation = InterpolationMode.NEAREST
        apply: Any = super()._apply_image_or_video_transform  # type: ignore[misc]  # of torchvision's policy
        return apply(image, transform_id, magnitude, interpolation, fill)


class _RandAugment(_WholeSteps, v2.RandAugment):  # type: ignore[misc]  # torchvision is not typed
    pass


class _TrivialAugment(_WholeSteps, v2.TrivialAugmentWide):  # type: ignore[misc]
    pass


_POLICIES = {"randaugment": _RandAugment, "trivialaugment": _TrivialAugment}


def _colour(config: DataConfig) -> v2.Transform | None:
    steps: list[v2.Transform] = []
    if config.auto_augment != "none":
        steps.append(_POLICIES[config.auto_augment](interpolation=InterpolationMode.BILINEAR))
    if config.color_jitter > 0:
        strength = config.color_jitter
        steps.append(v2.ColorJitter(strength, strength, strength))
    if not steps:
        return None
    return steps[0] if len(steps) == 1 else v2.Compose(steps)
