"""Makers of small image files, one for every kind that people have."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def make_pixels(width: int = 48, height: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth image that differs by corner and by channel.

    Returns:
        uint8 (H, W, 3).
    """
    corners = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.array(Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR))


def make_image(
    path: Path,
    pixels: NDArray[np.uint8] | None = None,
    *,
    mode: str = "RGB",
    format_name: str | None = None,
    orientation: int | None = None,
) -> Path:
    """Writes an image.

    Args:
        path: The file; its folder is made.
        pixels: uint8 (H, W, 3); None takes `make_pixels`.
        mode: Pillow mode to convert to before writing.
        format_name: Pillow's name of the format; None takes it from the file's name.
        orientation: EXIF orientation, 1 to 8; None writes no EXIF block.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(make_pixels() if pixels is None else pixels).convert(mode)
    if orientation is None:
        image.save(path, format_name)
        return path
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, format_name, exif=exif)
    return path


def jpeg_bytes(pixels: NDArray[np.uint8] | None = None, *, progressive: bool = False) -> bytes:
    """A JPEG file in memory."""
    file = io.BytesIO()
    image = Image.fromarray(make_pixels() if pixels is None else pixels)
    image.save(file, "JPEG", quality=95, progressive=progressive)
    return file.getvalue()
