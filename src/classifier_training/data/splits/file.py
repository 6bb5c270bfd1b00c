"""``data/split.csv``: which image was in which split, and what was left out. A table for people, written by columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from classifier_training.data.splits.recorded import RecordedImages, read_columnar
from classifier_training.errors import DataError
from classifier_training.files.atomic import atomic_path
from classifier_training.files.tables import TableError, format_rows, read_columns
from classifier_training.types import ImageRecord, Sample, Split

if TYPE_CHECKING:  # scoring an ONNX file reads splits, and has no pydantic
    from classifier_training.data.photos import Photos

LEFT_OUT = "left out"
COLUMNS = ("split", "label", "path", "digest", "offset", "size", "member", "reason")
_FIRST_COLUMNS = ("split", "label", "path", "digest", "reason")
"""Those that the first runs of version 0.1 had."""
_LARGEST: Final = 2**63 - 1
_MEMBER_COLUMNS = ("offset", "size", "member")
MIN_BYTES_COLUMNAR: Final = 4_000_000
"""A file of fewer bytes is read row by row: that takes less time than importing pyarrow."""


def write_split(path: Path, photos: Photos) -> None:
    """Writes one row an image: split, label, where it is, content hash, and the reason where it was left out."""
    from classifier_training.data.splits.columns import split_lines

    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(format_rows([COLUMNS]).encode())
        for split, rows in photos.rows.items():
            file.writelines(split_lines(photos.index, rows, split))
        bad = ((LEFT_OUT, "", image.path, "", "", "", "", image.reason) for image in photos.bad)
        file.writelines(format_rows([row]).encode() for row in bad)


def read_split(path: Path, split: Split) -> RecordedImages:
    """Reads the images of one split that `write_split` wrote, looked up when asked for.

    Raises:
        DataError: The file is missing or has no image of that split.
    """
    images = None
    if path.is_file() and path.stat().st_size >= MIN_BYTES_COLUMNAR:
        images = read_columnar(path, split)
    if images is None:  # small, no pyarrow, or not what it reads: this one finds the faulty line
        rows = [(sample, digest) for name, sample, digest in _read(path) if name == split]
        images = RecordedImages.of_rows(rows)
    if not images:
        raise DataError(f"the run had no {split} split; name photos to evaluate on, or another --split")
    return images


def read_paths(path: Path, split: Split | None = None) -> Iterator[str]:
    """The path of every image, of one split, or of all with those that were left out.

    Raises:
        DataError: The file is missing or not one that `write_split` wrote.
    """
    return (sample.path for name, sample, _ in _read(path) if split in (None, name))


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
            image = ImageRecord(file, _number(offset or "0"), _number(size) if size else None, member)
            yield split, Sample(image, label), digest
    except OSError as error:
        raise DataError(f"cannot read the run's split from {path}: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:
        what = error if isinstance(error, TableError) else f"has an offset or a size that is not a number: {error}"
        raise DataError(f"{path} is not the split file of a run: it {what}") from None


def _number(text: str) -> int:
    """A position in a file.

    Raises:
        ValueError: It is not one.
    """
    if not text.isascii() or not text.isdecimal() or int(text) > _LARGEST:
        raise ValueError(repr(text))
    return int(text)
