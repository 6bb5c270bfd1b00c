"""Training augmentation: uint8 image in, uint8 square out, all randomness from the position in the epoch.

Crop, flips, rotations and shears are one resampling, straight into the batch. Jittered colours are not computed here:
each image gets a map, which is applied where the batch is normalised. The evaluation transform is
`classifier_training.imaging.preprocess`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from classifier_training.config.schema import DataConfig
from classifier_training.data.loading.augmix import AugMix, mix
from classifier_training.data.loading.colour_jitter import ColourJitter, mean_greys
from classifier_training.data.loading.colour_operations import apply_colour_operations
from classifier_training.data.loading.policies import (
    AffineMap,
    Operation,
    Policy,
    RandAugmentWithNoise,
    affine_map,
    three_augment,
)
from classifier_training.data.loading.randomness import Crop, Randomness, more_uniforms, random_uniforms
from classifier_training.data.loading.resampling import as_images, resize_kernel, sample_affine
from classifier_training.imaging.jpeg import largest_shrink
from classifier_training.types import Preprocessing


class TrainTransform:
    """Random resized crop, flips, policy and colour augmentation.

    Args:
        preprocessing: Input size, interpolation, and the normalisation that colour maps hold.
        config: Strength of every augmentation.
    """

    def __init__(self, preprocessing: Preprocessing, config: DataConfig) -> None:
        self.preprocessing = preprocessing
        self.image_size = preprocessing.image_size
        self.interpolation = preprocessing.interpolation
        self.resize = resize_kernel(preprocessing.interpolation)
        self.config = config
        self.policy = _policy(config, self.image_size)
        self.augmix: AugMix | None = None
        if config.auto_augment == "augmix":
            how = (config.augmix_severity, config.augmix_width, config.augmix_depth, config.augmix_alpha)
            self.augmix = AugMix(self.image_size, *how)
        self.is_three_augment = config.auto_augment == "3augment"
        self.may_be_grey = config.grayscale > 0 or self.is_three_augment
        self.jitter: ColourJitter | None = None
        if config.color_jitter > 0 or config.hue > 0 or self.may_be_grey:
            self.jitter = ColourJitter(config.color_jitter, preprocessing, config.hue)

    def randoms(self, seed: int, epoch: int, positions: NDArray[np.int64]) -> list[Randomness]:
        """The random numbers of samples; arguments as of `random_uniforms`."""
        uniforms = random_uniforms(seed, epoch, positions)
        if not (self.may_be_grey or self.config.hue > 0 or self.config.gaussian_blur > 0):
            return list(map(Randomness, uniforms))
        return list(map(Randomness, uniforms, more_uniforms(seed, epoch, positions)))

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
        """Makes a square of a crop: flipped, resized, changed by the policy.

        Args:
            pixels: uint8 (H, W, 3), RGB: what `crop` takes of the image; may be read-only.
            random: The random numbers of the sample.
            output: uint8 (1, 3, S, S), channels last, filled.
        """
        images = as_images(pixels)
        flips = random.flips(self.config.hflip, self.config.vflip)
        self._apply(self._operations(random), images, flips, output)
        if self.augmix is not None:
            mix(self.augmix.sample(random.policy), output, lambda chain, to: self._apply(chain, images, flips, to))
        if self.config.gaussian_blur > 0 and random.is_blurred(self.config.gaussian_blur):
            blur = Operation("GaussianBlur", random.sigma(*self.config.gaussian_blur_sigma))
            apply_colour_operations([blur], _square(output))

    def _operations(self, random: Randomness) -> list[Operation]:
        """What the policy does to an image."""
        if self.is_three_augment:
            return [three_augment(random.choice, random.sigma(*self.config.gaussian_blur_sigma))]
        return [] if self.policy is None else self.policy.sample(random.policy)

    def _apply(self, operations: list[Operation], images: Tensor, flips: tuple[bool, bool], output: Tensor) -> None:
        """Resamples an image once, flipped and moved by the operations, and changes its colours by them."""
        affine = affine_map(operations)
        if affine.is_translation:
            if any(flips):
                images = images.flip([3] * flips[0] + [2] * flips[1])
            self.resize(images, (self.image_size, self.image_size), output)
        else:
            sample_affine(images, affine.flipped(*flips), output, nearest=self.interpolation == "nearest")
        if operations:
            square = _square(output)
            if affine.is_translation:
                _translate(square, affine)
            apply_colour_operations(operations, square)

    def finish(self, squares: Tensor, randoms: Sequence[Randomness]) -> NDArray[np.float32] | None:
        """Decides how the colours of a batch's images are jittered.

        Args:
            squares: uint8 (B, S, S, 3).
            randoms: The random numbers of each sample.

        Returns:
            float32 (B, 3, 4), as of `ClassificationBatch`; None: colours are not jittered.
        """
        if self.jitter is None:
            return None
        hues = np.array([random.hue for random in randoms]) if self.config.hue > 0 else None
        are_grey = np.array([self._is_grey(random) for random in randoms]) if self.may_be_grey else None
        jitter = np.array([random.jitter for random in randoms])
        return self.jitter.colour_maps(jitter, mean_greys(squares), hues, are_grey)

    def _is_grey(self, random: Randomness) -> bool:
        """Whether an image loses its colours, by its probability or as the operation of 3-Augment."""
        chosen = self.is_three_augment and three_augment(random.choice, 0.0).name == "Grayscale"
        return chosen or random.is_grey(self.config.grayscale)


def _policy(config: DataConfig, image_size: int) -> Policy | RandAugmentWithNoise | None:
    """A policy that is a list of operations for each image, by one random number."""
    if config.auto_augment == "trivialaugment":
        return Policy("trivialaugment", image_size)
    if config.auto_augment != "randaugment":
        return None
    magnitude, num_operations = config.randaugment_magnitude, config.randaugment_num_ops
    if config.randaugment_mstd > 0:
        return RandAugmentWithNoise(image_size, magnitude, num_operations, config.randaugment_mstd)
    return Policy("randaugment", image_size, magnitude, num_operations)


def _square(output: Tensor) -> NDArray[np.uint8]:
    """The memory of uint8 (1, 3, S, S), channels last, as (S, S, 3)."""
    square: NDArray[np.uint8] = output[0].permute(1, 2, 0).numpy()
    return square


def _translate(square: NDArray[np.uint8], affine: AffineMap) -> None:
    """Moves an image (S, S, 3) by whole pixels; what it leaves is black."""
    for axis, share in enumerate((affine.f, affine.c)):
        lines, distance = square.swapaxes(0, axis), round(-share * len(square) / 2)
        if distance > 0:
            lines[distance:] = lines[:-distance].copy()
            lines[:distance] = 0
        elif distance < 0:
            lines[:distance] = lines[-distance:].copy()
            lines[distance:] = 0
