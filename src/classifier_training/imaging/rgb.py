"""From any of Pillow's pixel modes to 8-bit RGB without losing the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts a loaded image to mode RGB.

    Modes of 8 bits and less are Pillow's ``convert("RGB")``, which drops alpha. Pillow clips the deeper ones to
    255, which turns a 16-bit photograph white; they are scaled here instead.

    Args:
        image: Any mode.

    Returns:
        Mode RGB, same size.
    """
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _grey(_integer_to_8_bit(np.asarray(image).astype(np.int64)))
    if image.mode == "F":
        return _grey(_float_to_8_bit(np.asarray(image, dtype=np.float64)))
    return image if image.mode == "RGB" else image.convert("RGB")


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


def _grey(values: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(values).convert("RGB")
