"""Resizes uint8 images with torch's vectorised antialiasing kernels, straight into existing memory.

They give what Pillow gives, within two levels of 255, in an eighth of the time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classifier_training.types import Interpolation

Kernel = Callable[[Tensor, tuple[int, int], Tensor], None]
"""Resizes uint8 images (B, 3, H, W) to a height h and width w, into uint8 (B, 3, h, w); both channels last."""

_aten = torch.ops.aten


def resize_kernel(interpolation: Interpolation) -> Kernel:
    """What resizes with a filter; Lanczos, which torch does not have, becomes bicubic, its neighbour in sharpness."""
    return _KERNELS[interpolation]


def reduced(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A smaller copy of an image, bicubic.

    Args:
        pixels: uint8 (H, W, 3).
        size: Width w and height h of the copy.

    Returns:
        uint8 (h, w, 3).
    """
    width, height = size
    output = np.empty((height, width, 3), np.uint8)
    _bicubic(as_images(pixels), (height, width), as_images(output))
    return output


def as_images(pixels: NDArray[np.uint8]) -> Tensor:
    """An image as a batch of one, in the same memory, also where that is read-only, of which torch would warn.

    Args:
        pixels: uint8 (H, W, 3), may be a part of a larger image.

    Returns:
        uint8 (1, 3, H, W), channels last.
    """
    height, width, _ = pixels.shape
    rows, columns, channels = pixels.strides
    if not pixels.flags.writeable:
        pixels = np.asarray(_Writable(pixels))
    return torch.from_numpy(pixels).as_strided((1, 3, height, width), (0, channels, rows, columns))


class _Writable:
    """Read-only memory for an operation that is known to read only."""

    __slots__ = ("__array_interface__", "array")

    def __init__(self, array: NDArray[np.uint8]) -> None:
        interface = array.__array_interface__
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
        self.array = array  # keeps the memory


def _nearest(images: Tensor, size: tuple[int, int], output: Tensor) -> None:
    _aten._upsample_nearest_exact2d.out(images, size, None, None, out=output)


def _bilinear(images: Tensor, size: tuple[int, int], output: Tensor) -> None:
    _aten._upsample_bilinear2d_aa.out(images, size, False, None, None, out=output)


def _bicubic(images: Tensor, size: tuple[int, int], output: Tensor) -> None:
    _aten._upsample_bicubic2d_aa.out(images, size, False, None, None, out=output)


_KERNELS: dict[Interpolation, Kernel] = {
    "nearest": _nearest,
    "bilinear": _bilinear,
    "bicubic": _bicubic,
    "lanczos": _bicubic,
}
