"""From the mode that a file stores its colours in to 8-bit RGB."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from classifier_training.types import Decoding

_FLAT: Final = 16
"""An image whose channels all span fewer of the 256 values shows nothing that a model could use."""


def to_rgb(image: Image.Image, decoding: Decoding) -> Image.Image:
    """Converts a loaded image to mode RGB.

    Modes of 8 bits and less are Pillow's ``convert("RGB")``, which drops transparency, unless there is a background to
    compose it on. Pillow clips the deeper ones to 255, which turns a 16-bit photograph white; they are scaled here
    instead.
    """
    if is_deep(image.mode):
        return Image.fromarray(_to_8_bit(_values(image), image.mode, decoding.integer_range)).convert("RGB")
    if decoding.background is not None and image.has_transparency_data:
        background = Image.new("RGBA", image.size, (*decoding.background, 255))
        return Image.alpha_composite(background, _with_alpha(image)).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def is_deep(mode: str) -> bool:
    """Whether a mode of Pillow holds grey values of more than 8 bits."""
    return mode in {"I", "F"} or mode.startswith("I;16")


def is_flat(image: Image.Image, rgb: Image.Image) -> bool:
    """Whether an image that shows something has become (nearly) one colour.

    Args:
        image: The loaded image: only those that are deep or transparent can lose what they show.
        rgb: What `to_rgb` made of it.
    """
    if is_deep(image.mode):
        values = _values(image)
        return bool(values.min() < values.max()) and _spans_little(rgb)
    if not image.has_transparency_data or not _spans_little(rgb):
        return False
    lowest, highest = _with_alpha(image).getchannel("A").getextrema()
    return bool(lowest != highest)


def _spans_little(rgb: Image.Image) -> bool:
    extrema: Any = rgb.getextrema()
    return all(highest - lowest < _FLAT for lowest, highest in extrema)


def _with_alpha(image: Image.Image) -> Image.Image:
    """The image in mode RGBA; Pillow cannot convert ``La`` in one step."""
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def _values(image: Image.Image) -> NDArray[Any]:
    """The grey values of a deep image: int64 or float64 (H, W)."""
    return np.asarray(image).astype(np.float64 if image.mode == "F" else np.int64)


def _to_8_bit(values: NDArray[Any], mode: str, integer_range: tuple[float, float] | None) -> NDArray[np.uint8]:
    if integer_range is not None:
        lowest, highest = integer_range
        scaled = (np.nan_to_num(values.astype(np.float64), nan=lowest) - lowest) * (255.0 / (highest - lowest))
        rounded: NDArray[np.uint8] = np.rint(scaled.clip(0.0, 255.0)).astype(np.uint8)
        return rounded
    return _float_to_8_bit(values) if mode == "F" else _integer_to_8_bit(values)


def _integer_to_8_bit(values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Keeps the upper 8 of 16 bits, as Pillow does for 16-bit colour; of more bits, if the values need more."""
    values = values.clip(min=0)
    num_bits = max(16, int(values.max()).bit_length())
    return (values >> (num_bits - 8)).astype(np.uint8)


def _float_to_8_bit(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Scales from the smallest usual full scale that holds all values: 1, 255, 65535, else the largest value."""
    values = np.where(np.isfinite(values), values, 0.0).clip(min=0.0)
    largest = float(values.max())
    full_scale = next((scale for scale in (1.0, 255.0, 65535.0) if largest <= scale), largest)
    return np.rint(values * (255.0 / full_scale)).astype(np.uint8)
