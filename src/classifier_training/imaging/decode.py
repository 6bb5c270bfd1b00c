"""The one decoder: from an image file to upright 8-bit RGB, or one clear error.

Training, evaluation, verification and prediction all read pictures here, so they all see the same pixels.
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
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from classifier_training.errors import BadImageError
from classifier_training.imaging.pillow_warnings import silenced
from classifier_training.imaging.rgb import to_rgb

IMAGE_EXTENSIONS = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp",
        ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".avif",
    }
)  # fmt: skip
"""What a picture's file name may end in, lower case, with the dot."""

# Pillow would also try formats that start other programs (EPS starts Ghostscript) or only draw a thumbnail.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
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
# The machine's trouble, not the picture's: leaving a good picture out because of it would falsify the data.
_MACHINE_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def decode_image(source: str | Path | bytes) -> NDArray[np.uint8]:
    """Reads a picture as upright RGB.

    The EXIF orientation is applied; a broken EXIF block is ignored. An alpha channel or a transparent palette
    entry is dropped and the colour under it kept, exactly as PIL's ``convert("RGB")`` does. More than 8 bits are
    scaled, not clipped. Of an animation, the first frame is read.

    Args:
        source: A file, or the bytes of one.

    Returns:
        uint8 (H, W, 3), RGB, writable.

    Raises:
        BadImageError: The file is missing, empty, truncated, no picture, or too large to be decoded safely.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("L", (4, 2), 7).save(file, "PNG")
        >>> decode_image(file.getvalue()).shape
        (2, 4, 3)
    """
    with _picture(source) as image:
        image.load()
        method = _UPRIGHT.get(_orientation(image))
        rgb = to_rgb(image)
        return np.array(rgb if method is None else rgb.transpose(method))


def check_image(source: str | Path | bytes) -> tuple[int, int]:
    """Reads all of a picture's data, as cheaply as that can be done, to learn whether `decode_image` could.

    A JPEG is decoded at an eighth of its size: every byte is still read, so truncation is found, at less than
    half of the time.

    Args:
        source: A file, or the bytes of one.

    Returns:
        Width and height of the upright picture, pixels.

    Raises:
        BadImageError: As `decode_image`.
    """
    with _picture(source) as image:
        size = image.size
        if image.draft(None, (image.width // 8, image.height // 8)) is None:
            image.load()
            # A TIFF is turned upright by Pillow while it loads.
            size = image.size
        image.load()
        return (size[1], size[0]) if _orientation(image) in _SWAPS_SIDES else size


def describe(source: str | Path | bytes) -> str:
    """What an error message calls a picture."""
    return f"image of {len(source)} bytes" if isinstance(source, bytes) else str(source)


@contextlib.contextmanager
def _picture(source: str | Path | bytes) -> Iterator[Image.Image]:
    """Opens a picture and turns whatever goes wrong with it into `BadImageError`."""
    try:
        with silenced(), io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
            _refuse_empty(file)
            with Image.open(file, formats=_formats()) as image:
                yield image
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise a dozen kinds, from struct.error to SyntaxError
        if isinstance(error, OSError) and error.errno in _MACHINE_ERRORS:
            raise
        raise BadImageError(f"cannot read {describe(source)}: {_reason(error)}") from None


def _refuse_empty(file: IO[bytes]) -> None:
    if not file.read(1):
        raise ValueError("the file is empty")
    file.seek(0)


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of our formats that this build of Pillow can read; naming another is a KeyError."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"it is not a picture, or of another kind than {', '.join(_formats())}"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels, the safe limit of Pillow"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split()) or type(error).__name__


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of a loaded image, 1 (upright) where there is none that can be read."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # the block is free-form bytes; parsing a broken one fails in many ways
        return 1
