"""Training augmentation: uint8 picture in, normalised tensor out, all randomness from the caller's seed.

The evaluation transform is `classifier_training.imaging.preprocess`, the one that the deployed model uses.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from classifier_training.config.schema import DataConfig
from classifier_training.types import Interpolation, Preprocessing

# tensors cannot be resized with Lanczos; bicubic is its nearest neighbour in sharpness
_INTERPOLATION: dict[Interpolation, InterpolationMode] = {
    "nearest": InterpolationMode.NEAREST,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "lanczos": InterpolationMode.BICUBIC,
}


class TrainTransform:
    """Random resized crop, flips, colour and policy augmentation, then the model's normalisation.

    Args:
        preprocessing: Input size, interpolation and normalisation.
        config: Strength of every augmentation.
    """

    def __init__(self, preprocessing: Preprocessing, config: DataConfig) -> None:
        self.geometry_and_colour = v2.Compose(_augmentations(preprocessing, config))
        finish: list[v2.Transform] = [
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(preprocessing.mean), list(preprocessing.std), inplace=True),
        ]
        if config.random_erasing > 0:
            finish.append(v2.RandomErasing(config.random_erasing))
        self.to_input = v2.Compose(finish)

    def __call__(self, image: NDArray[np.uint8], seed: int) -> Tensor:
        """Augments one picture.

        Args:
            image: uint8 (H, W, 3), RGB.
            seed: Everything random follows from it.

        Returns:
            float32 (3, S, S).
        """
        # torchvision draws from torch's global generator: borrow it and give it back as it was
        state = torch.default_generator.get_state()
        torch.default_generator.manual_seed(seed)
        try:
            pixels = torch.from_numpy(image).permute(2, 0, 1)
            output: Tensor = self.to_input(self.geometry_and_colour(pixels))
        finally:
            torch.default_generator.set_state(state)
        return output.contiguous()


def _augmentations(preprocessing: Preprocessing, config: DataConfig) -> list[v2.Transform]:
    interpolation = _INTERPOLATION[preprocessing.interpolation]
    steps: list[v2.Transform] = [
        v2.RandomResizedCrop(
            preprocessing.image_size,
            scale=config.train_scale,
            ratio=config.train_ratio,
            interpolation=interpolation,
            antialias=True,
        )
    ]
    if config.hflip > 0:
        steps.append(v2.RandomHorizontalFlip(config.hflip))
    if config.vflip > 0:
        steps.append(v2.RandomVerticalFlip(config.vflip))
    if config.auto_augment == "randaugment":
        steps.append(v2.RandAugment(interpolation=InterpolationMode.BILINEAR))
    elif config.auto_augment == "trivialaugment":
        steps.append(v2.TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR))
    if config.color_jitter > 0:
        strength = config.color_jitter
        steps.append(v2.ColorJitter(strength, strength, strength))
    return steps
