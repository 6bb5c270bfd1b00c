"""Inline images: JPEG files as ``data:`` addresses."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

from classifier_training.errors import BadImageError
from classifier_training.imaging.decode import decode_image
from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.read.scored_data import Example
from classifier_training.pages.wording import percentage
from classifier_training.types import Decoding

LARGEST_BYTES = 512 * 1024  # a thumbnail has a few kilobytes
_LARGEST_FIGURE_PIXELS = 2**24
_JPEG = b"\xff\xd8\xff"
_FIGURE_QUALITY = 80


@dataclass(frozen=True, slots=True)
class InlineImage:
    """An image with its prediction.

    Attributes:
        index: Position in the split.
        path: Its path.
        file: The last part of the path.
        true: Its class.
        predicted: The class that was predicted.
        confidence: Probability of the predicted class, as text.
        is_correct: Whether both are the same.
        source: The image as a ``data:`` address; None where it is gone.
        cam: The same with its Grad-CAM heat map, or None.
    """

    index: int
    path: str
    file: str
    true: str
    predicted: str
    confidence: str
    is_correct: bool
    source: str | None
    cam: str | None

    @property
    def text(self) -> str:
        """A description for screen readers."""
        how = "correctly" if self.is_correct else "wrongly"
        return f"{self.file}: {self.true}, {how} predicted as {self.predicted} with a confidence of {self.confidence}"


def inline_image(image: Example, classes: tuple[str, ...]) -> InlineImage:
    """An image with its names, and its files as text."""
    return InlineImage(
        index=image.index,
        path=one_line(image.file),
        file=one_line(image.file.rstrip("/").rpartition("/")[2]),
        true=one_line(classes[image.true]),
        predicted=one_line(classes[image.predicted]),
        confidence=percentage(image.confidence),
        is_correct=image.true == image.predicted,
        source=data_url(image.thumbnail),
        cam=data_url(image.cam),
    )


def data_url(path: Path | None) -> str | None:
    """A JPEG file as a ``data:`` address; None where it is missing, or is not a small JPEG file."""
    if path is None:
        return None
    try:
        if path.stat().st_size > LARGEST_BYTES:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    if not content.startswith(_JPEG):
        return None
    return _address(content)


def figure_url(path: Path | None) -> str | None:
    """A figure of photos as a ``data:`` address, as a JPEG of a few hundred kilobytes.

    None where it is missing, or is not an image, or is too large.
    """
    if path is None:
        return None
    try:
        status = path.stat()
        return _smaller(path, (status.st_mtime_ns, status.st_size, status.st_ino))
    except (OSError, BadImageError):
        return None


@lru_cache(maxsize=4)
def _smaller(path: Path, _: tuple[int, int, int]) -> str:
    """Cached: a page is rewritten after every epoch, and its figures are nearly always the same."""
    content = io.BytesIO()
    image = Image.fromarray(decode_image(path, decoding=Decoding(_LARGEST_FIGURE_PIXELS)))
    image.save(content, "JPEG", quality=_FIGURE_QUALITY)
    return _address(content.getvalue())


def _address(content: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"
