"""Labelled pictures to score a finished model on. Needs numpy and Pillow only, as scoring an ONNX file does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from classifier_training.data.inspect import BadImage, Progress, bad_images, inspect_files, name_some
from classifier_training.data.sources.listing import Listing, Split
from classifier_training.data.sources.recognise import list_photos
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


def choose_samples(root: Path, columns: Columns | None = None, split: Split | None = None) -> tuple[list[Sample], str]:
    """The pictures of a root to score on, and a phrase that says which they are.

    Args:
        root: A folder of photos or a table file.
        columns: Names of a table's columns.
        split: Which split to take where the root has splits; None: test, else validation.

    Raises:
        DataError: There are no photos, or no such split.
    """
    listing: Listing = list_photos(root, columns)
    if listing.unsplit and split is not None:
        raise DataError(f"{root} has no splits, so none can be chosen with --split {split}; leave it out to score all")
    if listing.unsplit:
        return listing.unsplit, f"all images of {root} (it has no splits)"
    there = [name for name, samples in listing.splits.items() if samples]
    chosen: Split = split or ("test" if "test" in there else "val")
    if chosen not in there:
        raise DataError(f"{root} has no images to score in a {chosen} split; choose with --split: {', '.join(there)}")
    return listing.splits[chosen], f"the {chosen} split of {root}"


def check_labelled(
    samples: Sequence[Sample],
    classes: Sequence[str],
    description: str,
    *,
    on_bad_image: Literal["raise", "skip"] = "raise",
    progress: Progress | None = None,
) -> Labelled:
    """Checks the files and turns class names into the model's class indices.

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
    facts = inspect_files([sample.path for sample in samples], progress)
    bad = bad_images(facts, on_bad_image)
    good = tuple(sample for sample in samples if facts[sample.path].error is None)
    if not good:
        raise DataError(f"{description}: no image can be read")
    labels, digests = (index[sample.label] for sample in good), (facts[sample.path].digest for sample in good)
    return Labelled(good, tuple(labels), bad, description, tuple(digests))
