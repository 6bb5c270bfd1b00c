"""Training augmentation: uint8 image in, uint8 square out, all randomness from the position in the epoch.

Crop, flips, rotations and shears are one resampling, straight into the batch. Jittered colours are not computed here:
each image gets a map, which is applied where the batch is normalised. The evaluation transform is
`classifier_training.imaging.preprocess`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2

from classifier_training.config.schema import DataConfig
from classifier_training.data.loading.colour_jitter import ColourJitter, colour_before, mean_greys
from classifier_training.data.loading.colour_operations import apply_colour_operations
from classifier_training.data.loading.policies import AffineMap, Policy, affine_map
from classifier_training.data.loading.resampling import as_images, resize_kernel, sample_affine
from classifier_training.imaging.jpeg import largest_shrink
from classifier_training.seeding import mix_seed
from classifier_training.types import Preprocessing

_NUM_TRIES: Final = 10  # as torchvision
_AREA, _RATIO, _LEFT, _TOP, _HFLIP, _VFLIP, _SEED = 0, _NUM_TRIES, 2 * _NUM_TRIES, 21, 22, 23, 24
_JITTER: Final = slice(25, 28)
# A whole number of Philox blocks, so that every sample begins with one of its own.
_BLOCK: Final = 4
_NUM_BLOCKS: Final = 7


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
        self.policy = None if config.auto_augment == "none" else Policy(config.auto_augment, self.image_size)
        self.jitter = ColourJitter(config.color_jitter, preprocessing) if config.color_jitter > 0 else None
        self.mean_colour = [round(255 * value) for value in preprocessing.mean]
        self.erasing: Any = None
        if config.random_erasing > 0:
            self.erasing = v2.RandomErasing(config.random_erasing, value=self.mean_colour, inplace=True)

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
        horizontally, vertically = random.flips(self.config.hflip, self.config.vflip)
        operations = [] if self.policy is None else self.policy.sample(random.policy)
        affine = affine_map(operations)
        if affine.is_translation:
            if horizontally or vertically:
                images = images.flip([3] * horizontally + [2] * vertically)
            self.resize(images, (self.image_size, self.image_size), output)
        else:
            is_nearest = self.interpolation == "nearest"
            sample_affine(images, affine.flipped(horizontally, vertically), output, nearest=is_nearest)
        if operations:
            square = output[0].permute(1, 2, 0).numpy()
            if affine.is_translation:
                _translate(square, affine)
            apply_colour_operations(operations, square)

    def finish(self, squares: Tensor, randoms: Sequence[Randomness]) -> NDArray[np.float32] | None:
        """Erases parts of a batch's images, and decides how their colours are jittered.

        Args:
            squares: uint8 (B, S, S, 3), changed.
            randoms: The random numbers of each sample.

        Returns:
            float32 (B, 3, 4), as of `ClassificationBatch`; None: colours are not jittered.
        """
        maps = None
        if self.jitter is not None:
            maps = self.jitter.colour_maps(np.array([random.jitter for random in randoms]), mean_greys(squares))
        if self.erasing is not None:
            for number, random in enumerate(randoms):
                # what is erased has the mean colour in the model's input
                self.erasing.value = self.mean_colour if maps is None else colour_before(maps[number])
                with seeded(random.seed):
                    self.erasing(squares[number].permute(2, 0, 1))
        return maps


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds torch's global generator, which torchvision uses, and restores its state afterwards."""
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


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


class Crop(NamedTuple):
    """A rectangle of an image, pixels."""

    left: int
    top: int
    width: int
    height: int

    def shrunk(self, shrink: int) -> Crop:
        """The part of an image with sides divided by ``shrink`` that lies whole in this one."""
        return Crop(self.left // shrink, self.top // shrink, self.width // shrink, self.height // shrink)

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A view of that part of uint8 (H, W, 3)."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


class Randomness:
    """The random numbers of one sample: a row of `random_uniforms`."""

    def __init__(self, uniforms: Sequence[float]) -> None:
        self._uniforms = uniforms

    @property
    def seed(self) -> int:
        """Seed in [0, 2⁵³) for what uses a generator of its own."""
        return int(self._uniforms[_SEED] * 2**53)

    @property
    def policy(self) -> float:
        """The number that decides about the operations of a policy."""
        return self._uniforms[_SEED]

    @property
    def jitter(self) -> Sequence[float]:
        """Three numbers, for brightness, contrast and saturation."""
        return self._uniforms[_JITTER]

    def flips(self, horizontally: float, vertically: float) -> tuple[bool, bool]:
        """Whether to flip, by the probabilities."""
        return self._uniforms[_HFLIP] < horizontally, self._uniforms[_VFLIP] < vertically

    def crop(self, size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]) -> Crop:
        """A rectangle of random area, shape and position, distributed as torchvision's ``RandomResizedCrop``.

        Args:
            size: Width and height of the image, pixels.
            scale: Range of its share of the image's area, uniform.
            ratio: Range of its width / height, uniform in the logarithm.

        Returns:
            If ten tries do not fit into the image, the largest centred one whose shape is in the range.
        """
        width, height = size
        low, high = math.log(ratio[0]), math.log(ratio[1])
        for number in range(_NUM_TRIES):
            area = width * height * (scale[0] + (scale[1] - scale[0]) * self._uniforms[_AREA + number])
            shape = math.exp(low + (high - low) * self._uniforms[_RATIO + number])
            w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < w <= width and 0 < h <= height:
                left = int(self._uniforms[_LEFT] * (width - w + 1))
                return Crop(left, int(self._uniforms[_TOP] * (height - h + 1)), w, h)
        w = min(width, max(1, round(height * ratio[1])))
        h = min(height, max(1, round(width / ratio[0])))
        return Crop((width - w) // 2, (height - h) // 2, w, h)


def random_uniforms(seed: int, epoch: int, positions: NDArray[np.int64]) -> list[list[float]]:
    """Random numbers in [0, 1) for each sample.

    Philox is a generator that jumps to any position at once, so no sample depends on the others.

    Args:
        seed: The run's seed.
        epoch: The epoch.
        positions: int64 (n,), of the samples in the epoch.

    Returns:
        n rows for `Randomness`.
    """
    philox = np.random.Philox(key=mix_seed(seed, epoch))
    generator = np.random.Generator(philox)
    uniforms = np.empty((len(positions), _BLOCK * _NUM_BLOCKS))
    starts = np.flatnonzero(np.diff(positions, prepend=positions[:1]) != 1).tolist()
    position = 0
    for start, stop in zip(starts, [*starts[1:], len(positions)], strict=False):
        philox.advance((int(positions[start]) - position) * _NUM_BLOCKS)
        generator.random(out=uniforms[start:stop])
        position = int(positions[stop - 1]) + 1
    return uniforms.tolist()
