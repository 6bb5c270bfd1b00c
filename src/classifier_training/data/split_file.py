"""The run's ``data/split.csv``: which picture was in which split, and what was left out."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from classifier_training.data.sources.listing import Split
from classifier_training.errors import DataError
from classifier_training.runs import write_text
from classifier_training.types import Sample

if TYPE_CHECKING:  # scoring an ONNX file reads splits, and has no pydantic
    from classifier_training.data.photos import Photos

LEFT_OUT = "left out"
COLUMNS = ("split", "label", "path", "digest", "reason")


def write_split(path: Path, photos: Photos) -> None:
    """Writes one row a picture: split, label, path, content hash, and the reason where it was left out."""
    buffer = io.StringIO()
    # the csv module quotes a lone carriage return only when told to quote everything
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for split, samples in photos.splits.items():
        writer.writerows(
            [split, sample.label, sample.path, photos.digests.get(sample.path, ""), ""] for sample in samples
        )
    writer.writerows([LEFT_OUT, "", image.path, "", image.reason] for image in photos.bad)
    write_text(path, buffer.getvalue())


def read_split(path: Path, split: Split) -> list[Sample]:
    """Reads the pictures of one split that `write_split` wrote.

    Raises:
        DataError: The file is missing or has no picture of that split.
    """
    samples = [Sample(row["path"], row["label"]) for row in _rows(path) if row["split"] == split]
    if not samples:
        raise DataError(f"the run had no {split} split; name photos to evaluate on, or another --split")
    return samples


def read_digests(path: Path, split: Split | None = None) -> dict[str, str]:
    """The content hash of every picture by its path, of one split or of all.

    Raises:
        DataError: The file is missing or not one that `write_split` wrote.
    """
    return {row["path"]: row["digest"] for row in _rows(path) if row["digest"] and split in (None, row["split"])}


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"cannot read the run's split from {path}: {(error.strerror or str(error)).lower()}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no split file of a run: {error!r}") from None
    if any(row.keys() != set(COLUMNS) for row in rows):
        raise DataError(f"{path} is no split file of a run: its columns are not {', '.join(COLUMNS)}")
    return rows
