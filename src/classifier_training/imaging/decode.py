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
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from classifier_training.errors import BadImageError
from classifier_training.imaging.pillow_state import pixel_limit, refuse_too_many_pixels, silenced
from classifier_training.types import ImageRecord, refuse_special

ImageSource = str | Path | bytes | ImageRecord
"""A file, the bytes of one, or where they are."""
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


def decode_image(source: ImageSource, name: str | None = None, *, max_pixels: int | None = None) -> NDArray[np.uint8]:
    """Reads an image as upright RGB.

    The EXIF orientation is applied; a broken EXIF block is ignored. An alpha channel or a transparent palette
    entry is dropped and the colour under it kept, exactly as PIL's ``convert("RGB")`` does. More than 8 bits are
    scaled, not clipped. Of an animation, the first frame is read.

    Args:
        source: A file, a record of one, or the bytes of one.
        name: What an error calls it; None: the file.
        max_pixels: An image with more is refused; None: as Pillow does.

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
    with _image(source, name, max_pixels) as image:
        image.load()
        return np.array(upright(to_rgb(image), read_orientation(image)))


class CheckedImage(NamedTuple):
    """What is known of an image that can be decoded.

    Attributes:
        size: Width and height of the upright image, pixels.
        mode: How its file stores colours, by Pillow's name, such as ``RGB``, ``L`` or ``CMYK``.
    """

    size: tuple[int, int]
    mode: str


def check_image(source: ImageSource, name: str | None = None, *, max_pixels: int | None = None) -> CheckedImage:
    """Reads all of an image's data, as cheaply as that can be done, to learn whether `decode_image` could.

    A JPEG is decoded at an eighth of its size: every byte is still read, so truncation is found, at less than
    half of the time.

    Args:
        source: A file, a record of one, or the bytes of one.
        name: What an error calls it; None: the file.
        max_pixels: An image with more is refused; None: as Pillow does.

    Raises:
        BadImageError: As `decode_image`.
    """
    with _image(source, name, max_pixels) as image:
        size, mode = image.size, image.mode
        if image.draft(None, (image.width // 8, image.height // 8)) is None:
            image.load()
            # A TIFF is turned upright by Pillow while it loads.
            size = image.size
        image.load()
        return CheckedImage(upright_size(size, read_orientation(image)), mode)


def image_orientation(source: ImageSource, name: str | None = None, *, max_pixels: int | None = None) -> int:
    """The EXIF orientation that `decode_image` applies, 1 (upright) where it is missing; arguments as there."""
    with _image(source, name, max_pixels) as image:
        return read_orientation(image)


def read_image_bytes(record: ImageRecord) -> bytes:
    """The bytes of an image, not decoded.

    Raises:
        BadImageError: The file cannot be read.
    """
    with _reported_as(str(record)):
        return record.read()


def describe(source: ImageSource) -> str:
    """What an error message calls an image."""
    return f"image of {len(source)} bytes" if isinstance(source, bytes) else str(source)


@contextlib.contextmanager
def _image(source: ImageSource, name: str | None, max_pixels: int | None) -> Iterator[Image.Image]:
    """Opens an image and turns every error into `BadImageError`."""
    with _reported_as(name or describe(source)), silenced(), pixel_limit(max_pixels), _open(source) as file:
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
        raise BadImageError(f"cannot read {name}: {_reason(error)}") from None


def _open(source: ImageSource) -> IO[bytes]:
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


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts a loaded image to mode RGB.

    Modes of 8 bits and less are Pillow's ``convert("RGB")``, which drops alpha. Pillow clips the deeper ones to
    255, which turns a 16-bit photograph white; they are scaled here instead.
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
