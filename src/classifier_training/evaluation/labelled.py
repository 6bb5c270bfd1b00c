"""LabelledImages images to score a finished model on. Needs numpy and Pillow only, as scoring an ONNX file does."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.index.check import BadImage, BadImagePolicy, bad_images, check_bad, inspect_records
from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.recognise import list_photos, shown_root
from classifier_training.data.sources.table import Columns
from classifier_training.errors import DataError
from classifier_training.files.text import name_some
from classifier_training.metrics.scores import Predictions, Scores
from classifier_training.types import SPLITS, Preprocessing, Progress, Sample, Split


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Images whose class is known.

    Attributes:
        samples: The good ones.
        labels: Their class indices.
        bad: The files that were left out.
        description: What was taken, for a person.
        split: Which split that is; None: the photos have none.
        digests: Content hashes of the good ones.
    """

    samples: tuple[Sample, ...]
    labels: tuple[int, ...]
    bad: tuple[BadImage, ...]
    description: str
    split: Split | None
    digests: tuple[str, ...]

    def for_classes(self, classes: Sequence[str]) -> LabelledImages:
        """The same images, with the class indices of another model.

        Raises:
            DataError: A class is not one of that model's.
        """
        index = _class_indices(self.samples, classes, self.description)
        return replace(self, labels=tuple(index[sample.label] for sample in self.samples))


@dataclass(frozen=True, slots=True)
class ScoredPhotos:
    """What a model said of labelled images.

    Attributes:
        classes: K class names of the model, in class order.
        labelled: The N images.
        scores: The scores.
        predictions: What was said of each image.
        preprocessing: How the model saw the images.
        epoch: After which epoch the model was scored, from 0; None where its file does not say.
        cam: Gives what the model looked at in some of the images, by position; None: it cannot be asked.
    """

    classes: tuple[str, ...]
    labelled: LabelledImages
    scores: Scores
    predictions: Predictions
    preprocessing: Preprocessing
    epoch: int | None = None
    cam: Callable[[list[int]], Mapping[int, NDArray[np.float32]]] | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Images that are not yet looked at.

    Attributes:
        samples: The images.
        description: What was taken, for a person.
        split: Which split that is; None: the photos have none.
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
    if not listing.places and split is not None:
        raise DataError(f"{root} has no splits, so none can be chosen with --split {split}; leave it out to score all")
    if not listing.places:
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
        policy: What to do about files that are no images; None: refuse them.
        max_pixels: An image with more is none; None: as Pillow does.
        progress: Told how many files have been checked.

    Raises:
        DataError: A file is broken and not to be skipped, or a class is not one of the model's.
    """
    samples, description = chosen.samples, chosen.description
    index = _class_indices(samples, classes, description)
    records = [sample.image for sample in samples]
    facts = inspect_records(records, progress, max_pixels=max_pixels)
    bad = bad_images(records, facts.errors)
    check_bad(bad, len(records), policy or BadImagePolicy())
    good = [position for position in range(len(samples)) if position not in facts.errors]
    if not good:
        raise DataError(f"{description}: no image can be read")
    return LabelledImages(
        samples=tuple(samples[position] for position in good),
        labels=tuple(index[samples[position].label] for position in good),
        bad=bad,
        description=description,
        split=chosen.split,
        digests=tuple(facts.digests[position].tobytes().hex() for position in good),
    )


def _class_indices(samples: Sequence[Sample], classes: Sequence[str], description: str) -> dict[str, int]:
    """The model's class indices by class name; an error where an image has another class."""
    index = {name: number for number, name in enumerate(classes)}
    unknown = sorted({sample.label for sample in samples} - set(index))
    if unknown:
        raise DataError(
            f"{description}: there are classes that the model does not know: {name_some(map(repr, unknown))}; it knows"
            f" {name_some(map(repr, classes))}"
        )
    return index
