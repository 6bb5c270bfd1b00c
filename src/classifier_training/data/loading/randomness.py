"""The random numbers of an augmented image: a pure function of (seed, epoch, position in the epoch)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifier_training.seeding import mix_seed

_NUM_TRIES: Final = 10  # as torchvision
_AREA, _RATIO, _LEFT, _TOP, _HFLIP, _VFLIP, _POLICY = 0, _NUM_TRIES, 2 * _NUM_TRIES, 21, 22, 23, 24
_JITTER: Final = slice(25, 28)
# A whole number of Philox blocks, so that every sample begins with one of its own.
_BLOCK: Final = 4
_NUM_BLOCKS: Final = 7
# Numbers of a stream of their own, for augmentations that are off by default.
_HUE, _GREY, _BLUR, _SIGMA, _CHOICE = range(5)
_NUM_MORE_BLOCKS: Final = 2
_MORE: Final = 1


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
    """The random numbers of one sample.

    Args:
        uniforms: A row of `random_uniforms`.
        more: A row of `more_uniforms`; may be empty where none of these is asked for.
    """

    def __init__(self, uniforms: Sequence[float], more: Sequence[float] = ()) -> None:
        self._uniforms = uniforms
        self._more = more

    @property
    def policy(self) -> float:
        """The number that decides about the operations of a policy."""
        return self._uniforms[_POLICY]

    @property
    def jitter(self) -> Sequence[float]:
        """Three numbers, for brightness, contrast and saturation."""
        return self._uniforms[_JITTER]

    @property
    def hue(self) -> float:
        """The number that decides about the hue."""
        return self._more[_HUE]

    @property
    def choice(self) -> float:
        """The number that decides which of the operations of 3-Augment is taken."""
        return self._more[_CHOICE]

    def is_grey(self, probability: float) -> bool:
        """Whether the image loses its colours."""
        return self._more[_GREY] < probability

    def is_blurred(self, probability: float) -> bool:
        """Whether the image is blurred."""
        return self._more[_BLUR] < probability

    def sigma(self, smallest: float, largest: float) -> float:
        """The strength of a blur, uniform in the range."""
        return smallest + (largest - smallest) * self._more[_SIGMA]

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

    Args:
        seed: The run's seed.
        epoch: The epoch.
        positions: int64 (n,), of the samples in the epoch.

    Returns:
        n rows for `Randomness`.
    """
    rows: list[list[float]] = uniforms_at(mix_seed(seed, epoch), positions, _NUM_BLOCKS).tolist()
    return rows


def more_uniforms(seed: int, epoch: int, positions: NDArray[np.int64]) -> list[list[float]]:
    """Further numbers of each sample, independent of those of `random_uniforms`; arguments as of that."""
    rows: list[list[float]] = uniforms_at(mix_seed(seed, epoch, _MORE), positions, _NUM_MORE_BLOCKS).tolist()
    return rows


def uniforms_at(key: int, positions: NDArray[np.int64], num_blocks: int) -> NDArray[np.float64]:
    """Rows of numbers by position, float64 (n, 4 * num_blocks).

    Philox jumps to any position at once, so no sample depends on the others.
    """
    philox = np.random.Philox(key=key)
    generator = np.random.Generator(philox)
    uniforms = np.empty((len(positions), _BLOCK * num_blocks))
    starts = np.flatnonzero(np.diff(positions, prepend=positions[:1]) != 1).tolist()
    position = 0
    for start, stop in zip(starts, [*starts[1:], len(positions)], strict=False):
        philox.advance((int(positions[start]) - position) * num_blocks)
        generator.random(out=uniforms[start:stop])
        position = int(positions[stop - 1]) + 1
    return uniforms
