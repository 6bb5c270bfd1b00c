"""Random brightness, contrast and saturation as one affine map of an image's RGB values.

A brightness b scales the values, a saturation s and a contrast c blend them with the pixel's grey g and with the mean
grey m of the image. Together, in whichever order, they are

    b c (s x + (1 - s) g) + b (1 - c) m

as long as values are not clipped to [0, 255] in between, which is not done here. The map is joined with the
normalisation, so the device makes the model's input of uint8 images in one step (`normalize.apply_colour_maps`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from classifier_training.types import Preprocessing

_GREY: Final = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as Pillow and torchvision
_ROW_STEP: Final = 8


class ColourJitter:
    """Colour maps of strength ``strength``: each factor is uniform in [1 - strength, 1 + strength].

    Args:
        strength: In [0, 1].
        preprocessing: Mean and standard deviation that the maps normalise with.
    """

    def __init__(self, strength: float, preprocessing: Preprocessing) -> None:
        self.strength = strength
        mean, std = np.asarray(preprocessing.mean), np.asarray(preprocessing.std)
        self._scale, self._offset = 1 / (255 * std), -mean / std

    def colour_maps(self, uniforms: NDArray[np.float64], greys: NDArray[np.float64]) -> NDArray[np.float32]:
        """The maps of a batch.

        Args:
            uniforms: Random numbers (B, 3) in [0, 1), for brightness, contrast and saturation.
            greys: (B,), the mean grey of each image, in [0, 255].

        Returns:
            float32 (B, 3, 4): for each output channel the factors of red, green and blue in [0, 255], and what is
            added.
        """
        brightness, contrast, saturation = (1 + self.strength * (2 * uniforms - 1)).T
        gain = brightness * contrast
        maps = np.empty((len(uniforms), 3, 4))
        maps[:, :, :3] = (gain * (1 - saturation))[:, None, None] * _GREY
        maps[:, range(3), range(3)] += (gain * saturation)[:, None]
        maps[:, :, 3] = (brightness * (1 - contrast) * greys)[:, None]
        maps *= self._scale[:, None]
        maps[:, :, 3] += self._offset
        return maps.astype(np.float32)


def mean_greys(images: Tensor) -> NDArray[np.float64]:
    """The mean grey of each image, computed from every eighth row, which is hardly another than that of all.

    Args:
        images: uint8 (B, S, S, 3), contiguous.

    Returns:
        float64 (B,), in [0, 255].
    """
    rows = images[:, ::_ROW_STEP].flatten(2).float()
    means = rows.mean(1).numpy().reshape(len(images), -1, 3).mean(axis=1, dtype=np.float64)
    greys: NDArray[np.float64] = means @ _GREY
    return greys


def colour_before(colour_map: NDArray[np.float32]) -> list[int]:
    """The RGB colour in [0, 255] that a map (3, 4) turns into the mean colour, or the nearest one that there is."""
    matrix, added = np.split(colour_map.astype(np.float64), [3], axis=1)
    levels = np.linalg.pinv(matrix) @ -added[:, 0]
    return [round(level) for level in levels.clip(0, 255).tolist()]
