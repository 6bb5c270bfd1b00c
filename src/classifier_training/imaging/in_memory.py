"""Images that are in memory already: PIL images and arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_ALLOWED = "give uint8 of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or uint16 of shape (H, W)"


def image_of_array(array: NDArray[Any]) -> Image.Image:
    """A PIL image of an array: grey, grey of 16 bits, RGB or RGBA.

    Raises:
        ValueError: The array is of another type or shape.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    is_grey = array.ndim == 2
    if not (is_grey or (array.ndim == 3 and array.shape[2] in {3, 4})) or 0 in array.shape:
        raise ValueError(f"an array of shape {array.shape} is not an image; {_ALLOWED}, channels last")
    if array.dtype != np.uint8 and not (is_grey and array.dtype == np.uint16):
        raise ValueError(f"an array of {array.dtype} is not an image; {_ALLOWED}, values from black to white")
    return Image.fromarray(np.ascontiguousarray(array))
