"""Random erasing: a rectangle of a training image gets the mean colour, on the device, for a whole batch at once.

The rectangles are those of torchvision's ``RandomErasing`` (Zhong et al. 2020, https://arxiv.org/abs/1708.04896): a
share of 2 to 33 % of the image's area, a shape from 0.3 to 3.3, and they follow from the position in the epoch.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classifier_training.data.loading.randomness import uniforms_at
from classifier_training.seeding import mix_seed

_SHARES: Final = (0.02, 0.33)
_SHAPES: Final = (0.3, 3.3)
_NUM_TRIES: Final = 10
_NUM_BLOCKS: Final = 6  # of four numbers
_STREAM: Final = 2
"""Keeps the random numbers of erasing apart from those of other uses of a position."""


class RandomErasing:
    """Decides what is erased.

    Args:
        probability: That something is erased of an image.
        seed: The run's seed.
    """

    def __init__(self, probability: float, seed: int) -> None:
        self.probability = probability
        self.seed = seed

    def rectangles(self, epoch: int, positions: NDArray[np.int64], image_size: int) -> NDArray[np.int64]:
        """What is erased of each image.

        Args:
            epoch: The epoch.
            positions: int64 (B,), of the images in the epoch.
            image_size: S, pixels.

        Returns:
            int64 (B, 4): top, left, bottom, right; all 0 where nothing is erased.
        """
        uniforms = uniforms_at(mix_seed(self.seed, epoch, _STREAM), positions, _NUM_BLOCKS)
        is_erased, top, left = uniforms[:, 0] < self.probability, uniforms[:, 1], uniforms[:, 2]
        areas = image_size**2 * (_SHARES[0] + (_SHARES[1] - _SHARES[0]) * uniforms[:, 3 : 3 + _NUM_TRIES])
        low, high = map(math.log, _SHAPES)
        shapes = np.exp(low + (high - low) * uniforms[:, 3 + _NUM_TRIES : 3 + 2 * _NUM_TRIES])
        heights, widths = np.rint(np.sqrt(areas * shapes)), np.rint(np.sqrt(areas / shapes))
        fits = (heights < image_size) & (widths < image_size)
        first = fits.argmax(axis=1)[:, None]
        height, width = (np.take_along_axis(sides, first, 1)[:, 0] for sides in (heights, widths))
        y, x = np.floor(top * (image_size - height + 1)), np.floor(left * (image_size - width + 1))
        rectangles = np.stack([y, x, y + height, x + width], axis=1).astype(np.int64)
        rectangles[~(is_erased & fits.any(axis=1))] = 0
        return rectangles


def erase(images: Tensor, rectangles: Tensor) -> None:
    """Gives rectangles of normalised images the mean colour, which is 0.

    Args:
        images: float (B, 3, H, W), changed.
        rectangles: int64 (B, 4), on the same device: top, left, bottom, right.
    """
    if images.device.type == "cpu":  # touches nothing but what is erased
        for image, (top, left, bottom, right) in zip(images, rectangles.numpy().tolist(), strict=True):
            image[:, top:bottom, left:right] = 0
    else:
        erase_by_mask(images, rectangles)


def erase_by_mask(images: Tensor, rectangles: Tensor) -> None:
    """`erase` by kernels that know the rectangles on the device alone."""
    top, left, bottom, right = rectangles[:, :, None].unbind(1)
    rows, columns = (torch.arange(length, device=images.device) for length in images.shape[2:])
    is_row, is_column = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    images.masked_fill_((is_row[:, :, None] & is_column[:, None, :])[:, None], 0)
