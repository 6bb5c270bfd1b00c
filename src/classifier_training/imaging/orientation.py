"""The EXIF orientation of an image, and how it is turned upright."""

from __future__ import annotations

from PIL import Image

_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES = {5, 6, 7, 8}


def read_orientation(image: Image.Image) -> int:
    """The EXIF orientation of an open image, 1 (upright) where it is missing or unreadable."""
    try:
        return int(image.getexif().get(_TAG, 1))
    except Exception:  # the block is free-form bytes; parsing a broken one fails in many ways
        return 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image turned upright; itself where nothing is to be turned."""
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height of the upright image from those of the stored one."""
    return (size[1], size[0]) if orientation in _SWAPS_SIDES else size
