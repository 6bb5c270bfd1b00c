"""The images of a run's own split, found by content in the place that its photos have moved to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.sources.detect import shown_root
from classifier_training.data.sources.listing import Listing
from classifier_training.data.splits.file import read_paths
from classifier_training.errors import DataError
from classifier_training.evaluation.run_split import data_root, recorded_split, warn_of
from classifier_training.files.text import name_some
from classifier_training.run.folder import RunFolder
from classifier_training.types import SPLITS, Sample, Split

DigestsOf = Callable[[Sequence[Sample]], NDArray[np.uint8]]
"""Gives the content hashes of images, uint8 (N, 16); zero where one cannot be read."""


class MovedSplit(NamedTuple):
    """A split in another place.

    Attributes:
        split: Which one.
        samples: Its N images, in the order that the run recorded.
        digests: uint8 (N, 16), the contents that it recorded.
    """

    split: Split
    samples: list[Sample]
    digests: NDArray[np.uint8]


def find_moved_split(
    run: RunFolder, split: Split | None, root: str, listing: Listing, digests_of: DigestsOf
) -> MovedSplit | None:
    """Finds the images of a run's split in ``root`` by content and label; None, with a warning: none of them is there.

    Names only decide what is read first, so that photos that have moved as they are need not all be read.

    Raises:
        DataError: The run has no such split, or some of its images are not in ``root``.
    """
    split, recorded = recorded_split(run, split)
    keys = [(digest.tobytes(), image.label) for image, digest in zip(recorded, recorded.digests, strict=True)]
    in_order = (split, *(name for name in SPLITS if name != split), None)
    samples = [sample for name in in_order for sample in listing.samples(name)]
    old = data_root(run) or ""
    names = {_below(old, image.path) for image in recorded}
    likely, others = list[Sample](), list[Sample]()
    for sample in samples:
        (likely if _below(root, sample.path) in names else others).append(sample)
    found = _by_content(likely, digests_of)
    have_their_names = all(key in found for key in keys)
    if not have_their_names:
        for key, some in _by_content(others, digests_of).items():
            found.setdefault(key, []).extend(some)
    missing = [image.path for image, key in zip(recorded, keys, strict=True) if key not in found]
    if len(missing) == len(recorded):
        message = f"{shown_root(root)} holds none of the {split} images of {run.root}: other photos are scored"
        warnings.warn(message, stacklevel=2)
        return None
    if missing:
        raise DataError(
            f"{shown_root(root)} holds {len(recorded) - len(missing)} of the {len(recorded)} {split} images of"
            f" {run.root}, by content and label; missing: {name_some(missing)}; restore them, or score all labelled"
            f" photos: classifier-training evaluate {run.root} {shown_root(root)}"
        )
    if have_their_names:  # after a renaming every image would be new
        _warn_of_more(run, split, root, listing, samples)
    return MovedSplit(split, [_next(found[key]) for key in keys], recorded.digests)


def _by_content(samples: Sequence[Sample], digests_of: DigestsOf) -> dict[tuple[bytes, str], list[Sample]]:
    """The images of each content and label."""
    found: dict[tuple[bytes, str], list[Sample]] = {}
    if samples:
        for sample, digest in zip(samples, digests_of(samples), strict=True):
            if digest.any():
                found.setdefault((digest.tobytes(), sample.label), []).append(sample)
    return found


def _next(copies: list[Sample]) -> Sample:
    """Each of several files of one content once, as long as there are enough."""
    return copies.pop(0) if len(copies) > 1 else copies[0]


def _warn_of_more(run: RunFolder, split: Split, root: str, listing: Listing, samples: Sequence[Sample]) -> None:
    old = data_root(run) or ""
    recorded = {_below(old, path) for path in read_paths(run.split, None)}
    of_split = samples[: listing.count(split)] if listing.locations else samples
    more = [sample.path for sample in of_split if _below(root, sample.path) not in recorded]
    where = shown_root(root)
    warn_of(more, f"the {split} split of {where}" if listing.locations else where)


def _below(root: str, path: str) -> str:
    """The path from the root, the same on every system."""
    return path.removeprefix(root).replace("\\", "/").lstrip("/")
