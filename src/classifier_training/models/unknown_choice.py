"""Chooses the unknown score of a model by leaving each of its classes out in turn.

A small head is fitted to the features of training images without a class, or a few of them where there are many, and
every score to the same images. The validation images of the classes that were left out are then to score higher than
the others. The backbone has seen the classes; only images of other kinds, which nobody has, could show more.

Letters: M training images, N validation images, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifier_training.metrics.unknown import KINDS, UnknownKind, auroc, fit_unknown_score
from classifier_training.models.linear_head import HeadProblem, fit_rough_head

FEWEST_CLASSES: Final = 3
"""Two of which are left where one is left out."""
MAX_CLASSES: Final = 100
"""Of more classes, so many from all over them are left out."""
MAX_GROUPS: Final = 20
MOST_WORK: Final = 2_000
"""Groups times classes at most."""
MARGIN: Final = 0.005
"""A score that needs less is preferred where another one is not better by more than this."""
NUM_BINS: Final = 20


class Images(NamedTuple):
    """Features float32 (N, D) and labels int64 (N,) of images."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class UnknownChoice:
    """What leaving out classes has shown.

    Attributes:
        kind: The chosen score.
        classes: The C classes that were left out, and have validation images.
        aurocs: By score, float64 (C,).
        num_images: C numbers of validation images.
        edges: float64 (21,), of bins of the chosen score, which has another origin in each group.
        known: int64 (20,), images of other classes in the bins; what is beyond them is in the outer ones.
        left_out: int64 (20,), the same of the classes left out.
    """

    kind: UnknownKind
    classes: tuple[int, ...]
    aurocs: dict[UnknownKind, NDArray[np.float64]]
    num_images: tuple[int, ...]
    edges: NDArray[np.float64]
    known: NDArray[np.int64]
    left_out: NDArray[np.int64]


def why_no_choice(labels: NDArray[np.int64], val_labels: NDArray[np.int64]) -> str | None:
    """Why no class of training and validation images can be left out; None: one can."""
    num_classes = len(np.intersect1d(labels, val_labels))
    if num_classes >= FEWEST_CLASSES:
        return None
    there = "one class has" if num_classes == 1 else f"{num_classes} classes have"
    return f"{there} training and validation images, and {FEWEST_CLASSES} are needed to leave one out"


def choose_unknown_score(
    train: Images, val: Images, num_classes: int, check_stop: Callable[[], None] = lambda: None
) -> UnknownChoice:
    """Chooses the score that tells the left out classes apart best, on average over the classes.

    Args:
        train: M training images.
        val: N validation images; `why_no_choice` has no reason.
        num_classes: K.
        check_stop: Called after each group of classes, and may raise to stop.
    """
    classes, counts = list[int](), list[int]()
    found: dict[UnknownKind, list[float]] = {kind: [] for kind in KINDS}
    known: dict[UnknownKind, list[NDArray[np.float32]]] = {kind: [] for kind in KINDS}
    unknown: dict[UnknownKind, list[NDArray[np.float32]]] = {kind: [] for kind in KINDS}
    for group in _groups(train.labels, val.labels):
        is_left_out = np.isin(val.labels, group)
        scores = _scores_without(train, val, group, num_classes)
        for kind, values in scores.items():
            found[kind] += [auroc(values[~is_left_out], values[val.labels == one]) for one in group]
            known[kind].append(values[~is_left_out])
            unknown[kind].append(values[is_left_out])
        classes += group
        counts += [int((val.labels == one).sum()) for one in group]
        check_stop()
    aurocs = {kind: np.array(values) for kind, values in found.items()}
    kind = _best({kind: float(values.mean()) for kind, values in aurocs.items()})
    bins = _histogram(np.concatenate(known[kind]), np.concatenate(unknown[kind]))
    return UnknownChoice(kind, tuple(classes), aurocs, tuple(counts), *bins)


def _groups(labels: NDArray[np.int64], val_labels: NDArray[np.int64]) -> Iterator[list[int]]:
    """The classes that are left out together: one by one, or a few where there are many."""
    classes = np.intersect1d(labels, val_labels)
    num_classes = len(classes)
    if num_classes > MAX_CLASSES:
        classes = classes[np.linspace(0, num_classes - 1, MAX_CLASSES).round().astype(np.int64)]
    num_groups = min(len(classes), MAX_GROUPS, max(2, MOST_WORK // num_classes))
    for number in range(num_groups):
        yield classes[number::num_groups].tolist()


def _scores_without(
    train: Images, val: Images, group: list[int], num_classes: int
) -> dict[UnknownKind, NDArray[np.float32]]:
    """Every score of the validation images (N,), fitted without the images of some classes."""
    is_kept = ~np.isin(train.labels, group)
    features, labels = train.features[is_kept], train.labels[is_kept]
    there, numbers = np.unique(labels, return_inverse=True)
    head = fit_rough_head(HeadProblem(features, numbers.reshape(-1).astype(np.int64), len(there)))
    logits = head.logits(val.features)
    return {kind: fit_unknown_score(kind, features, num_classes - len(group))(logits, val.features) for kind in KINDS}


def _best(means: dict[UnknownKind, float]) -> UnknownKind:
    """The score with the highest mean; of those that are as good but for a little, the one that needs least."""
    highest = max(means.values())
    return next(kind for kind in KINDS if means[kind] >= highest - MARGIN)


def _histogram(
    known: NDArray[np.float32], unknown: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Edges of bins in which nearly all scores lie, and the counts of both kinds."""
    both = np.concatenate([known, unknown]).astype(np.float64)
    low, high = (float(one) for one in np.quantile(both, [0.005, 0.995]))
    edges = np.linspace(low, max(high, low + 1e-6 * max(1.0, abs(low))), NUM_BINS + 1)
    counts = [
        np.histogram(np.clip(values.astype(np.float64), edges[0], edges[-1]), edges)[0] for values in (known, unknown)
    ]
    return edges, counts[0].astype(np.int64), counts[1].astype(np.int64)
