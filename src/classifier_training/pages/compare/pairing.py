"""Which images two passes have in common, and which of the two models was right more often on those."""

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
    """Two passes beside each other.

    Attributes:
        are_same: Whether both are of the same images, all of them.
        comparison: Of the images that both have; None where there are none, or it is not known which those are.
    """

    are_same: bool
    comparison: PairedComparison | None


def pair(first: ScoredData, second: ScoredData, *, are_same_photos: bool) -> Pairing:
    """Compares two passes image by image.

    An image is known by its path, its class, and its number among those of the same path.

    Args:
        first: Has its predictions, or nothing is known of the images.
        second: The same.
        are_same_photos: Whether both are known to be of the same photos, wherever these lay: then an image is known by
            its path below the folder that holds all of them, as after a training on another machine.
    """
    if first.predictions is None or second.predictions is None:
        return Pairing(are_same=False, comparison=None)
    ours, theirs = _are_right(first, first.predictions.files), _are_right(second, second.predictions.files)
    if are_same_photos and ours.keys().isdisjoint(theirs):
        below = [_below_common_folder(scored.predictions) for scored in (first, second) if scored.predictions]
        shortened = _are_right(first, below[0]), _are_right(second, below[1])
        if shortened[0].keys() == shortened[1].keys():
            ours, theirs = shortened
    common = [key for key in ours if key in theirs]
    if not common:
        return Pairing(are_same=False, comparison=None)
    right = [np.array([one[key] for key in common], dtype=np.bool_) for one in (ours, theirs)]
    return Pairing(are_same=len(common) == len(ours) == len(theirs), comparison=compare_paired(*right))


def _are_right(scored: ScoredData, files: Iterable[str]) -> dict[Key, bool]:
    """Whether each image was predicted as what it is."""
    said = scored.predictions
    if said is None:
        return {}
    seen: Counter[tuple[str, str]] = Counter()
    is_correct: dict[Key, bool] = {}
    for file, label, predicted in zip(files, said.labels.tolist(), said.predicted.tolist(), strict=True):
        place = (file, scored.classes[label])
        is_correct[*place, seen[place]] = label == predicted
        seen[place] += 1
    return is_correct


def _below_common_folder(said: PredictionColumns) -> list[str]:
    folder = os.path.dirname(os.path.commonprefix(said.files))  # noqa: PTH120, RUF071 - names of files of anywhere
    return [file[len(folder) :] for file in said.files]
