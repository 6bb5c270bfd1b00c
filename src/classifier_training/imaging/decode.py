"""The one decoder: from an image file to upright 8-bit RGB, or one clear error.

Training, evaluation, verification and prediction all read images here, so they all see the same pixels.
Pillow chooses the decoder by content, not by the file's name; embedded colour profiles are not applied, as in
torchvision and timm.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from classifier_training.errors import BadImageError, LargeImageError
from classifier_training.imaging.colours import is_flat, to_rgb
from classifier_training.imaging.in_memory import image_of_array
from classifier_training.imaging.pillow_state import TooManyPixelsError, pixel_limit, refuse_too_many_pixels, silenced
from classifier_training.types import Decoding, ImageRecord, refuse_special

ImageSource = str | Path | bytes | ImageRecord | Image.Image | NDArray[Any]
"""A file, the bytes of one, where they are, or an image that is in memory."""
DEFAULT: Final = Decoding()
"""Transparency is dropped, deep images are scaled by their number of bits."""
IMAGE_EXTENSIONS = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp",
        ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".avif",
    }
)  # fmt: skip
"""What an image's file name may end in, lower case, with the dot."""
# Pillow would also try formats that start other programs (EPS starts Ghostscript) or only draw a thumbnail.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
# The machine's trouble, not the image's: leaving a good image out because of it would falsify the data.
_MACHINE_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_ORIENTATION_TAG = 0x0112
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


def decode_image(source: ImageSource, name: str | None = None, *, decoding: Decoding = DEFAULT) -> NDArray[np.uint8]:
    """Reads an image as upright RGB.

    The EXIF orientation is applied; a broken EXIF block is ignored. Without a background, an alpha channel or a
    transparent palette entry is dropped and the colour under it kept, exactly as PIL's ``convert("RGB")`` does. More
    than 8 bits are scaled, not clipped. Of an animation, the first frame is read.

    Args:
        source: A file, a record of one, the bytes of one, a PIL image, or an array: uint8 (H, W), (H, W, 1), (H, W, 3)
            or (H, W, 4), or uint16 (H, W).
        name: What an error calls it; None: the file.
        decoding: What to do about large, transparent and deep images.

    Returns:
        uint8 (H, W, 3), RGB, writable.

    Raises:
        BadImageError: The file is missing, empty, truncated, no image, or too large to be decoded safely.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("L", (4, 2), 7).save(file, "PNG")
        >>> decode_image(file.getvalue()).shape
        (2, 4, 3)
    """
    with _image(source, name, decoding.max_pixels) as image:
        image.load()
        return np.array(upright(to_rgb(image, decoding), read_orientation(image)))


class CheckedImage(NamedTuple):
    """What is known of an image that can be decoded.

    Attributes:
        size: Width and height of the upright image, pixels.
        mode: How its file stores colours, by Pillow's name, such as ``RGB``, ``L`` or ``CMYK``.
        is_flat: Whether a transparent or deep image is decoded to (nearly) one colour, although its file holds more.
    """

    size: tuple[int, int]
    mode: str
    is_flat: bool = False


def check_image(source: ImageSource, name: str | None = None, *, decoding: Decoding = DEFAULT) -> CheckedImage:
    """Reads all of an image's data, as cheaply as that can be done, to learn whether `decode_image` could.

    A JPEG is decoded at an eighth of its size: every byte is still read, so truncation is found, at less than
    half of the time. What cannot be decoded like that is decoded whole before it is refused.

    Args:
        source: A file, a record of one, or the bytes of one.
        name: What an error calls it; None: the file.
        decoding: As of `decode_image`.

    Raises:
        BadImageError: As `decode_image`.
    """
    with contextlib.suppress(BadImageError):
        return _check(source, name, decoding, cheaply=True)
    return _check(source, name, decoding, cheaply=False)


def _check(source: ImageSource, name: str | None, decoding: Decoding, *, cheaply: bool) -> CheckedImage:
    with _image(source, name, decoding.max_pixels) as image:
        size, mode = image.size, image.mode
        smaller = (max(1, image.width // 8), max(1, image.height // 8))
        if not cheaply or image.draft(None, smaller) is None:
            image.load()
            # A TIFF is turned upright by Pillow while it loads.
            size = image.size
        image.load()
        colours = to_rgb(image, decoding)
        return CheckedImage(upright_size(size, read_orientation(image)), mode, is_flat(image, colours))


def image_orientation(source: ImageSource, name: str | None = None, *, decoding: Decoding = DEFAULT) -> int:
    """The EXIF orientation that `decode_image` applies, 1 (upright) where it is missing; arguments as there."""
    with _image(source, name, decoding.max_pixels) as image:
        return read_orientation(image)


def read_image_bytes(record: ImageRecord) -> bytes:
    """The bytes of an image, not decoded.

    Raises:
        BadImageError: The file cannot be read.
    """
    with _reported_as(str(record)):
        return record.read()


def is_in_memory(source: ImageSource) -> bool:
    """Whether an image has no file that could be named."""
    return isinstance(source, bytes | Image.Image | np.ndarray)


def describe(source: ImageSource) -> str:
    """What an error message calls an image."""
    if isinstance(source, bytes):
        return f"image of {len(source)} bytes"
    return "image in memory" if is_in_memory(source) else str(source)


@contextlib.contextmanager
def _image(source: ImageSource, name: str | None, max_pixels: int | None) -> Iterator[Image.Image]:
    """Opens an image and turns every error into `BadImageError`."""
    with _reported_as(name or describe(source)), silenced(), pixel_limit(max_pixels):
        if isinstance(source, Image.Image | np.ndarray):
            image = source if isinstance(source, Image.Image) else image_of_array(source)
            refuse_too_many_pixels(image.size, max_pixels)
            yield image  # it stays open: it belongs to the caller
            return
        with _open(source) as file:
            if not file.read(1):
                raise ValueError("the file is empty")
            file.seek(0)
            with Image.open(file, formats=_formats()) as image:
                refuse_too_many_pixels(image.size, max_pixels)
                yield image


@contextlib.contextmanager
def _reported_as(name: str) -> Iterator[None]:
    """Turns every error of an image into `BadImageError`, except for errors of the machine."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise a dozen kinds, from struct.error to SyntaxError
        if isinstance(error, OSError) and error.errno in _MACHINE_ERRORS:
            raise
        kind = LargeImageError if isinstance(error, TooManyPixelsError) else BadImageError
        raise kind(f"cannot read {name}: {_reason(error)}") from None


def _open(source: str | Path | bytes | ImageRecord) -> IO[bytes]:
    if isinstance(source, ImageRecord):
        return io.BytesIO(source.read())
    if isinstance(source, bytes):
        return io.BytesIO(source)
    refuse_special(source)
    return Path(source).open("rb")


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of our formats that this build of Pillow can read; naming another is a KeyError."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"it is not an image, or of another kind than {', '.join(_formats())}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split()) or type(error).__name__


def read_orientation(image: Image.Image) -> int:
    """The EXIF orientation of an open image, 1 (upright) where it is missing or unreadable."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # the block is free-form bytes; parsing a broken one fails in many ways
        return 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image turned upright; itself where nothing is to be turned."""
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height of the upright image from those of the stored one."""
    return (size[1], size[0]) if orientation in _SWAPS_SIDES else size
