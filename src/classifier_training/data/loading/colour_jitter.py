"""Random brightness, contrast, saturation and hue as one affine map of an image's RGB values.

A brightness b scales the values, a saturation s and a contrast c blend them with the pixel's grey g and with the mean
grey m of the image. Together, in whichever order, they are

    b c (s x + (1 - s) g) + b (1 - c) m

A hue turns what an image has besides its grey, x - g, in the plane of the colours of one grey, which is that of I and Q
in YIQ: R (x - g) + g in place of x. Greys stay, and with them m, so this commutes with the others as well. An image
that loses its colours has s = 0.

All this holds as long as values are not clipped to [0, 255] in between, which is not done here. The map is joined with
the normalisation, so the device makes the model's input of uint8 images in one step (`normalize.apply_colour_maps`).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from classifier_training.types import Preprocessing

_GREY: Final = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as Pillow and torchvision
_TO_GREY: Final = np.tile(_GREY, (3, 1))
_YIQ: Final = np.array([_GREY, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
# what a quarter of a turn makes of a colour besides its grey: I becomes -Q, Q becomes I
_TURN: Final = np.linalg.inv(_YIQ) @ np.array([[0, 0, 0], [0, 0, 1], [0, -1, 0]]) @ _YIQ
_ROW_STEP: Final = 8


class ColourJitter:
    """Colour maps of strength ``strength``: each factor is uniform in [1 - strength, 1 + strength].

    Args:
        strength: In [0, 1].
        preprocessing: Mean and standard deviation that the maps normalise with.
        hue: Hues are turned by up to this share of a full turn, in [0, 0.5], either way; as in torchvision, red becomes
            yellow before it becomes green.
    """

    def __init__(self, strength: float, preprocessing: Preprocessing, hue: float = 0.0) -> None:
        self.strength = strength
        self.hue = hue
        mean, std = np.asarray(preprocessing.mean), np.asarray(preprocessing.std)
        self._scale, self._offset = 1 / (255 * std), -mean / std

    def colour_maps(
        self,
        uniforms: NDArray[np.float64],
        greys: NDArray[np.float64],
        hues: NDArray[np.float64] | None = None,
        are_grey: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """The maps of a batch.

        Args:
            uniforms: Random numbers (B, 3) in [0, 1), for brightness, contrast and saturation.
            greys: (B,), the mean grey of each image, in [0, 255].
            hues: Random numbers (B,) in [0, 1), for the hues; None: they stay.
            are_grey: (B,), which images lose their colours; None: none of them.

        Returns:
            float32 (B, 3, 4): for each output channel the factors of red, green and blue in [0, 255], and what is
            added.
        """
        brightness, contrast, saturation = (1 + self.strength * (2 * uniforms - 1)).T
        if are_grey is not None:
            saturation = np.where(are_grey, 0.0, saturation)
        gain = brightness * contrast
        maps = np.empty((len(uniforms), 3, 4))
        if hues is None:
            maps[:, :, :3] = (gain * (1 - saturation))[:, None, None] * _GREY
            maps[:, range(3), range(3)] += (gain * saturation)[:, None]
        else:
            angles = 2 * math.pi * self.hue * (2 * hues - 1)
            colours = [(saturation * turn(angles))[:, None, None] for turn in (np.cos, np.sin)]
            maps[:, :, :3] = gain[:, None, None] * (_TO_GREY + colours[0] * (np.eye(3) - _TO_GREY) + colours[1] * _TURN)
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
