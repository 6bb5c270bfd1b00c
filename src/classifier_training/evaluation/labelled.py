"""Labelled images to score a finished model on. Needs numpy and Pillow only, as scoring an ONNX file does."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.index.check import BadImagePolicy, bad_images, check_bad, inspect_records
from classifier_training.data.sources.detect import list_photos, shown_root
from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.table import Columns
from classifier_training.errors import DataError
from classifier_training.files.text import name_some
from classifier_training.results.scored_pass import LabelledImages
from classifier_training.types import SPLITS, Progress, Sample, Split


@dataclass(frozen=True, slots=True)
class Selection:
    """Images that are not checked yet.

    Attributes:
        samples: The images.
        description: Which images these are, human-readable.
        split: Which split they are; None where they belong to none.
    """

    samples: Sequence[Sample]
    description: str
    split: Split | None


def select_samples(
    root: str | Path,
    columns: Columns | None = None,
    split: Split | None = None,
    classes: Collection[str] | None = None,
    cache: Path | None = None,
) -> Selection:
    """The images of a root to score on.

    Args:
        root: A folder of photos, a table file, shards, or the address of any of them.
        columns: Names of a table's columns.
        split: Which split to take where the root has splits; None: test, else validation.
        classes: The class names that a table may have; None: any.
        cache: The cache folder; None: the user's.

    Raises:
        DataError: There are no photos, or no such split, or a row of a table has another class.
    """
    listing: Listing = list_photos(root, columns, classes=classes, cache=cache)
    root = shown_root(os.fspath(root))
    if not listing.locations and split is not None:
        raise DataError(f"{root} has no splits, so none can be chosen with --split {split}; leave it out to score all")
    if not listing.locations:
        return Selection(listing.samples(), f"all images of {root} (it has no splits)", None)
    there = [name for name in SPLITS if listing.count(name)]
    chosen: Split = split or ("test" if "test" in there else "val")
    if chosen not in there:
        raise DataError(f"{root} has no images to score in a {chosen} split; choose with --split: {', '.join(there)}")
    return Selection(listing.samples(chosen), f"the {chosen} split of {root}", chosen)


def check_labelled(
    chosen: Selection,
    classes: Sequence[str],
    *,
    policy: BadImagePolicy | None = None,
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> LabelledImages:
    """Checks the files and turns class names into the model's class indices.

    Args:
        chosen: The images.
        classes: The model's class names.
        policy: What to do about files that are not images; None: refuse them.
        max_pixels: An image with more pixels is refused; None: as Pillow does.
        progress: Called with the number of files that have been checked.

    Raises:
        DataError: A file is broken and not to be skipped, or the model does not know a class.
    """
    samples, description = chosen.samples, chosen.description
    names = [sample.label for sample in samples]
    labels = _class_indices(names, classes, description)
    records = [sample.image for sample in samples]
    facts = inspect_records(records, progress, max_pixels=max_pixels)
    bad = bad_images(records, facts.errors)
    check_bad(bad, len(records), policy or BadImagePolicy())
    good = [position for position in range(len(samples)) if position not in facts.errors]
    if not good:
        raise DataError(f"{description}: no image can be read")
    return LabelledImages(
        files=[samples[position].path for position in good],
        labels=labels[good],
        classes=tuple(classes),
        description=description,
        split=chosen.split,
        records=[records[position] for position in good],
        digests=tuple(facts.digests[position].tobytes().hex() for position in good),
        left_out=tuple(image.path for image in bad),
    )


def for_classes(images: LabelledImages, classes: Sequence[str]) -> LabelledImages:
    """The same images, with the class indices of another model.

    Args:
        images: The images.
        classes: The other model's class names.

    Raises:
        DataError: A class is not one of that model's.
    """
    names = [images.classes[label] for label in images.labels.tolist()]
    return replace(images, labels=_class_indices(names, classes, images.description), classes=tuple(classes))


def _class_indices(names: Sequence[str], classes: Sequence[str], description: str) -> NDArray[np.int64]:
    """int64 (N,), the model's class index of each class name; an error where it does not know one."""
    index = {name: number for number, name in enumerate(classes)}
    unknown = sorted(set(names) - index.keys())
    if unknown:
        raise DataError(
            f"{description}: there are classes that the model does not know: {name_some(map(repr, unknown))}; it knows"
            f" {name_some(map(repr, classes))}"
        )
    return np.array([index[name] for name in names], np.int64)
