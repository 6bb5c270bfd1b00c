"""Which images two passes have in common, and which of the two models is correct more often on these."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from classifier_training.metrics.paired import PairedComparison, compare_paired
from classifier_training.pages.read.scored_data import PredictionColumns, ScoredData

Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Pairing:
    """The comparison of two passes.

    Attributes:
        are_same: Whether both are of the same images, all of them.
        comparison: On the common images; None where there are none, or they are not known.
    """

    are_same: bool
    comparison: PairedComparison | None


def pair(first: ScoredData, second: ScoredData, *, are_same_photos: bool) -> Pairing:
    """Compares two passes image by image.

    An image is identified by its path, its class, and its number among those of the same path.

    Args:
        first: With its predictions, without which the images are not known.
        second: The same.
        are_same_photos: Whether both are of the same photos in any folder: then an image is identified by its path
            below the common folder of all images, as after a training on another machine.
    """
    if first.predictions is None or second.predictions is None:
        return Pairing(are_same=False, comparison=None)
    ours, theirs = _are_correct(first, first.predictions.files), _are_correct(second, second.predictions.files)
    if are_same_photos and ours.keys().isdisjoint(theirs):
        below = [_below_common_folder(scored.predictions) for scored in (first, second) if scored.predictions]
        shortened = _are_correct(first, below[0]), _are_correct(second, below[1])
        if shortened[0].keys() == shortened[1].keys():
            ours, theirs = shortened
    common = [key for key in ours if key in theirs]
    if not common:
        return Pairing(are_same=False, comparison=None)
    are_correct = [np.array([one[key] for key in common], dtype=np.bool_) for one in (ours, theirs)]
    return Pairing(are_same=len(common) == len(ours) == len(theirs), comparison=compare_paired(*are_correct))


def _are_correct(scored: ScoredData, files: Iterable[str]) -> dict[Key, bool]:
    """Whether each image was predicted correctly."""
    predictions = scored.predictions
    if predictions is None:
        return {}
    seen: Counter[tuple[str, str]] = Counter()
    is_correct: dict[Key, bool] = {}
    for file, label, predicted in zip(files, predictions.labels.tolist(), predictions.predicted.tolist(), strict=True):
        image = (file, scored.classes[label])
        is_correct[*image, seen[image]] = label == predicted
        seen[image] += 1
    return is_correct


def _below_common_folder(predictions: PredictionColumns) -> list[str]:
    folder = os.path.dirname(os.path.commonprefix(predictions.files))  # noqa: PTH120, RUF071 - file names of any machine
    return [file[len(folder) :] for file in predictions.files]
