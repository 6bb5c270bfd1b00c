"""Labelled pictures to score a finished model on. Needs numpy and Pillow only, as scoring an ONNX file does."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from classifier_training.data.inspect import (
    BadImage,
    BadImagePolicy,
    Progress,
    bad_images,
    check_bad,
    inspect_records,
    name_some,
)
from classifier_training.data.sources.listing import SPLITS, Listing, Split
from classifier_training.data.sources.recognise import list_photos, shown_root
from classifier_training.data.sources.table import Columns
from classifier_training.errors import DataError
from classifier_training.types import Sample


@dataclass(frozen=True, slots=True)
class Labelled:
    """Pictures whose class is known.

    Attributes:
        samples: The good ones.
        labels: Their class indices.
        bad: The files that were left out.
        description: What was taken, for a person.
        digests: Content hashes of the good ones.
    """

    samples: tuple[Sample, ...]
    labels: tuple[int, ...]
    bad: tuple[BadImage, ...]
    description: str
    digests: tuple[str, ...]


def choose_samples(
    root: str | Path,
    columns: Columns | None = None,
    split: Split | None = None,
    classes: Collection[str] | None = None,
) -> tuple[list[Sample], str]:
    """The pictures of a root to score on, and a phrase that says which they are.

    Args:
        root: A folder of photos, a table file, shards, or the address of any of them.
        columns: Names of a table's columns.
        split: Which split to take where the root has splits; None: test, else validation.
        classes: The class names that a table may have; None: any.

    Raises:
        DataError: There are no photos, or no such split, or a row of a table has another class.
    """
    listing: Listing = list_photos(root, columns, classes=classes)
    root = shown_root(os.fspath(root))
    if not listing.places and split is not None:
        raise DataError(f"{root} has no splits, so none can be chosen with --split {split}; leave it out to score all")
    if not listing.places:
        return listing.samples(), f"all images of {root} (it has no splits)"
    there = [name for name in SPLITS if listing.count(name)]
    chosen: Split = split or ("test" if "test" in there else "val")
    if chosen not in there:
        raise DataError(f"{root} has no images to score in a {chosen} split; choose with --split: {', '.join(there)}")
    return listing.samples(chosen), f"the {chosen} split of {root}"


def check_labelled(
    samples: Sequence[Sample],
    classes: Sequence[str],
    description: str,
    *,
    policy: BadImagePolicy | None = None,
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> Labelled:
    """Checks the files and turns class names into the model's class indices.

    Args:
        samples: The pictures.
        classes: The model's class names.
        description: What was taken, for a person.
        policy: What to do about files that are no pictures; None: refuse them.
        max_pixels: A picture with more is none; None: as Pillow does.
        progress: Told how many files have been checked.

    Raises:
        DataError: A file is broken and not to be skipped, or a class is not one of the model's.
    """
    index = {name: number for number, name in enumerate(classes)}
    unknown = sorted({sample.label for sample in samples} - set(index))
    if unknown:
        raise DataError(
            f"{description}: there are classes that the model does not know: {name_some(map(repr, unknown))}; it knows"
            f" {name_some(map(repr, classes))}"
        )
    records = [sample.image for sample in samples]
    facts = inspect_records(records, progress, max_pixels=max_pixels)
    bad = bad_images(records, facts.errors)
    check_bad(bad, len(records), policy or BadImagePolicy())
    good = [position for position in range(len(samples)) if position not in facts.errors]
    if not good:
        raise DataError(f"{description}: no image can be read")
    return Labelled(
        samples=tuple(samples[position] for position in good),
        labels=tuple(index[samples[position].label] for position in good),
        bad=bad,
        description=description,
        digests=tuple(facts.digests[position].tobytes().hex() for position in good),
    )
