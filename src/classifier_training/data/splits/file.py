"""The run's ``data/split.csv``: which image was in which split, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from classifier_training.errors import DataError
from classifier_training.files.tables import TableError, read_columns, write_table
from classifier_training.types import ImageRecord, Sample, Split

if TYPE_CHECKING:  # scoring an ONNX file reads splits, and has no pydantic
    from classifier_training.data.photos import Photos

LEFT_OUT = "left out"
COLUMNS = ("split", "label", "path", "digest", "offset", "size", "member", "reason")
_FIRST_COLUMNS = ("split", "label", "path", "digest", "reason")
"""Those that the first runs of version 0.1 had."""
_MEMBER_COLUMNS = ("offset", "size", "member")


def write_split(path: Path, photos: Photos) -> None:
    """Writes one row an image: split, label, where it is, content hash, and the reason where it was left out."""
    write_table(path, COLUMNS, _rows(photos))


def _rows(photos: Photos) -> Iterator[tuple[str, ...]]:
    for split in photos.rows:
        for sample, digest in zip(photos.samples(split), photos.digests(split), strict=True):
            image = sample.image
            offset = str(image.offset) if image.member else ""
            size = "" if image.size is None else str(image.size)
            yield split, sample.label, image.path, digest.tobytes().hex(), offset, size, image.member, ""
    for bad in photos.bad:
        yield LEFT_OUT, "", bad.path, "", "", "", "", bad.reason


def read_split(path: Path, split: Split) -> list[Sample]:
    """Reads the images of one split that `write_split` wrote.

    Raises:
        DataError: The file is missing or has no image of that split.
    """
    samples = [sample for name, sample, _ in _read(path) if name == split]
    if not samples:
        raise DataError(f"the run had no {split} split; name photos to evaluate on, or another --split")
    return samples


def read_digests(path: Path, split: Split | None = None) -> dict[str, str]:
    """The content hash of every image by its path, of one split or of all.

    Raises:
        DataError: The file is missing or not one that `write_split` wrote.
    """
    return {sample.path: digest for name, sample, digest in _read(path) if digest and split in (None, name)}


def _read(path: Path) -> Iterator[tuple[str, Sample, str]]:
    """Split, image and content hash of every row."""
    try:
        for row in read_columns(path, _FIRST_COLUMNS, _MEMBER_COLUMNS):
            split, label, file, digest, _, offset, size, member = row
            image = ImageRecord(file, int(offset or 0), int(size) if size else None, member)
            yield split, Sample(image, label), digest
    except OSError as error:
        raise DataError(f"cannot read the run's split from {path}: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:
        what = error if isinstance(error, TableError) else f"has an offset or a size that is not a number: {error}"
        raise DataError(f"{path} is not the split file of a run: it {what}") from None
