"""The run's ``data/split.csv``: which image was in which split, and what was left out."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from classifier_training.errors import DataError
from classifier_training.files.atomic import atomic_path
from classifier_training.types import ImageRecord, Sample, Split

if TYPE_CHECKING:  # scoring an ONNX file reads splits, and has no pydantic
    from classifier_training.data.photos import Photos

LEFT_OUT = "left out"
COLUMNS = ("split", "label", "path", "digest", "offset", "size", "member", "reason")
_NEEDED = ("split", "label", "path", "digest", "reason")
ROWS_AT_ONCE = 65_536


def write_split(path: Path, photos: Photos) -> None:
    """Writes one row an image: split, label, where it is, content hash, and the reason where it was left out."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    # every cell is quoted: a lone carriage return in a name would end the row otherwise
    options = arrow_csv.WriteOptions(quoting_style="all_valid")
    with atomic_path(path) as temporary, arrow_csv.CSVWriter(str(temporary), schema, write_options=options) as writer:
        for columns in _columns(photos):
            writer.write_batch(pa.record_batch([columns[name] for name in COLUMNS], schema=schema))


def _columns(photos: Photos) -> Iterator[dict[str, list[str]]]:
    """The rows of the file as columns, some thousand at a time."""
    for split in photos.rows:
        samples, digests = photos.samples(split), photos.digests(split)
        for start in range(0, len(samples), ROWS_AT_ONCE):
            some = samples[start : start + ROWS_AT_ONCE]
            text = digests[start : start + ROWS_AT_ONCE].tobytes().hex()
            width = len(text) // len(some)
            yield {
                "split": [split] * len(some),
                "label": [sample.label for sample in some],
                "path": [sample.image.path for sample in some],
                "digest": [text[i * width : (i + 1) * width] for i in range(len(some))],
                "offset": [str(sample.image.offset) if sample.image.member else "" for sample in some],
                "size": ["" if sample.image.size is None else str(sample.image.size) for sample in some],
                "member": [sample.image.member for sample in some],
                "reason": [""] * len(some),
            }
    left_out = {name: [""] * len(photos.bad) for name in COLUMNS}
    left_out |= {
        "split": [LEFT_OUT] * len(photos.bad),
        "path": [image.path for image in photos.bad],
        "reason": [image.reason for image in photos.bad],
    }
    yield left_out


def read_split(path: Path, split: Split) -> list[Sample]:
    """Reads the images of one split that `write_split` wrote.

    Raises:
        DataError: The file is missing or has no image of that split.
    """
    samples = [Sample(_record(row), row["label"]) for row in _rows(path) if row["split"] == split]
    if not samples:
        raise DataError(f"the run had no {split} split; name photos to evaluate on, or another --split")
    return samples


def _record(row: Mapping[str, str]) -> ImageRecord:
    size = row.get("size")  # runs of the first version have no column for it
    return ImageRecord(row["path"], int(row.get("offset") or 0), int(size) if size else None, row.get("member") or "")


def read_digests(path: Path, split: Split | None = None) -> dict[str, str]:
    """The content hash of every image by its path, of one split or of all.

    Raises:
        DataError: The file is missing or not one that `write_split` wrote.
    """
    return {str(_record(row)): row["digest"] for row in _rows(path) if row["digest"] and split in (None, row["split"])}


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"cannot read the run's split from {path}: {(error.strerror or str(error)).lower()}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no split file of a run: {error!r}") from None
    if any(None in row or not set(_NEEDED) <= row.keys() for row in rows):
        raise DataError(f"{path} is no split file of a run: it lacks one of the columns {', '.join(_NEEDED)}")
    return rows
