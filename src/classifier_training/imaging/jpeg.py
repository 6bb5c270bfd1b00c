"""Decodes images no larger than they are needed: a JPEG at a half, a quarter or an eighth of its size.

A JPEG stores blocks of 8 x 8 frequencies, so a smaller image comes out of it with less work. Only these scales are
used: libjpeg-turbo computes the ones between them without vector instructions, slower than the whole. All other
formats, and every JPEG that is not plain, are read by `decode_image`, which also words the errors.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from classifier_training.imaging.decode import DEFAULT, decode_image, image_orientation, upright, upright_size
from classifier_training.imaging.pillow_state import has_too_many_pixels
from classifier_training.types import Decoding

SHRINKS: Final = (8, 4, 2)
"""What the sides of an image can be divided by while it is decoded."""

_COLOUR_SPACES = {"YCbCr", "Gray", "RGB"}
_APP1, _START_OF_SCAN = 0xE1, 0xDA


class EncodedImage:
    """An image that is decoded once it is known how large it is needed.

    Args:
        content: The bytes of its file.
        name: What an error calls it.
        decoding: As of `decode_image`.

    Attributes:
        size: Width and height of the upright image, pixels.

    Raises:
        BadImageError: It is not an image, or too large.
    """

    def __init__(self, content: bytes, name: str, *, decoding: Decoding = DEFAULT) -> None:
        self._content = content
        self._name = name
        self._decoding = decoding
        self._pixels: NDArray[np.uint8] | None = None
        self._orientation = 1
        self._stored_size = _plain_jpeg_size(content)
        if self._stored_size is None or has_too_many_pixels(self._stored_size, decoding.max_pixels):
            self._pixels = self._decode_whole()
            self.size = self._pixels.shape[1], self._pixels.shape[0]
        else:
            if _has_app1(content):  # opening by Pillow takes longer than a resize; most files have nothing to find
                self._orientation = image_orientation(content, name, decoding=decoding)
            self.size = upright_size(self._stored_size, self._orientation)

    def decode(self, shrink: int = 1) -> NDArray[np.uint8]:
        """The upright image.

        Args:
            shrink: What its sides are divided by, and rounded up: 1 or one of `SHRINKS`.

        Returns:
            uint8 (h, w, 3), RGB.

        Raises:
            BadImageError: The image is damaged.
        """
        if self._pixels is None and self._stored_size is not None:
            pixels = _decode_jpeg(self._content, self._stored_size, shrink)
            if pixels is not None:
                is_upright = self._orientation == 1
                return pixels if is_upright else np.asarray(upright(Image.fromarray(pixels), self._orientation))
        if self._pixels is None:
            self._pixels = self._decode_whole()
        return self._pixels if shrink == 1 else np.asarray(Image.fromarray(self._pixels).reduce(shrink))

    def _decode_whole(self) -> NDArray[np.uint8]:
        return decode_image(self._content, self._name, decoding=self._decoding)


def largest_shrink(side: int, needed: int) -> int:
    """The largest divisor for `EncodedImage.decode` that leaves at least ``needed`` of ``side`` pixels."""
    return next((shrink for shrink in SHRINKS if side >= needed * shrink), 1)


def _plain_jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Stored width and height of a JPEG in the usual colours; None: something else."""
    try:
        height, width, colour_space, _ = simplejpeg.decode_jpeg_header(content)
    except ValueError:
        return None
    return (int(width), int(height)) if colour_space in _COLOUR_SPACES else None


def _decode_jpeg(content: bytes, size: tuple[int, int], shrink: int) -> NDArray[np.uint8] | None:
    """uint8 (h, w, 3), not turned; None where the data is damaged or merely odd."""
    width, height = (-(-side // shrink) for side in size)
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, "RGB", min_height=height, min_width=width)
    except ValueError:
        return None
    return pixels if pixels.shape == (height, width, 3) else None


def _has_app1(content: bytes) -> bool:
    """Whether there may be a segment before the image's data that holds EXIF or XMP."""
    position = 2
    while content[position : position + 1] == b"\xff" and position + 4 <= len(content):
        marker = content[position + 1]
        if marker in {_APP1, _START_OF_SCAN}:
            return marker == _APP1
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return True  # stray bytes: Pillow will know
