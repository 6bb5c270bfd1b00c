"""Cross-validation: each photo in one fold, whose run tests on it and trains on the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.index.table import Index
from classifier_training.data.splits.caveats import Rows
from classifier_training.data.splits.positions import TEST, TRAIN, VAL, positions_of, split_by_content
from classifier_training.errors import DataError
from classifier_training.files.text import name_some
from classifier_training.types import Split


@dataclass(frozen=True, slots=True)
class Fold:
    """Which run of a cross-validation.

    Attributes:
        number: The fold that is tested on, from 1; ``all``: the final model, which trains on all folds.
        count: How many folds there are.
    """

    number: int | Literal["all"]
    count: int


def split_by_fold(
    index: Index, rows: Rows, given: NDArray[np.int8], fold: Fold, *, val_fraction: float, seed: int, rule: int
) -> tuple[dict[Split, Rows], list[str]]:
    """The splits of one run of a cross-validation, and notes on them.

    Photos of a test split that the source gives are in no fold; the final model is tested on them. Its validation
    photos are among those that it trains on.

    Args:
        index: All images.
        rows: The good ones.
        given: int8 (N,), the split of each of them, as the source gives it.
        fold: Which run.
        val_fraction: Share of the photos outside of the fold that are validated on.
        seed: Of the run.
        rule: `make.SPLIT_RULE`.

    Raises:
        DataError: A class has fewer photos, or sets of photos that must stay together, than there are folds.
    """
    in_folds = rows[given != TEST]
    kept = rows[given == TEST]
    positions, labels = positions_of(index, in_folds, seed, rule), index.labels[in_folds]
    check_folds(labels, positions, index.label_names, fold.count)
    note = f"{fold.count} folds of {len(in_folds)} photos by class and content, seed {seed}"
    if fold.number == "all":
        codes = split_by_content(labels, positions, val_fraction=val_fraction, test_fraction=0.0)
        splits: dict[Split, Rows] = {"train": in_folds, "val": in_folds[codes == VAL]}
        notes = [f"{note}: the final model trains on all of them; its validation photos are among these"]
        return splits | ({"test": kept} if len(kept) else {}), notes
    is_tested = deal_folds(labels, positions, fold.count) == fold.number - 1
    notes = [f"{note}: fold {fold.number} is the test, {val_fraction:.0%} of the others are held out for validation"]
    if len(kept):
        notes.append(f"the {len(kept)} photos of the given test split are in no fold")
    rest = in_folds[~is_tested]
    codes = split_by_content(labels[~is_tested], positions[~is_tested], val_fraction=val_fraction, test_fraction=0.0)
    return {"train": rest[codes == TRAIN], "val": rest[codes == VAL], "test": in_folds[is_tested]}, notes


def check_folds(
    labels: NDArray[np.integer[Any]], positions: NDArray[np.float64], names: list[str] | tuple[str, ...], count: int
) -> None:
    """Makes sure that each class can be in each fold; arguments as of `deal_folds`, and the class names.

    Raises:
        DataError: It cannot.
    """
    pairs = np.unique(np.stack([labels.astype(np.float64), positions]), axis=1)[0].astype(np.int64)
    num_sets = np.bincount(pairs, minlength=len(names))
    small = [f"{name!r} has {num}" for name, num in zip(names, num_sets.tolist(), strict=True) if 0 < num < count]
    if small:
        raise DataError(
            f"data.folds={count} needs {count} photos of every class, or as many groups of photos that stay together:"
            f" class {name_some(small)}; lower data.folds, or add photos"
        )


def deal_folds(labels: NDArray[np.integer[Any]], positions: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Deals photos to folds, so that each class is spread evenly; photos of one position share a fold.

    Sets of several photos are dealt first, the largest first, each to the fold that has the fewest photos of their
    classes; then single photos fill up each class where it is rarest. With single photos alone, the folds of a class
    differ by one photo at most.

    Args:
        labels: int (N,), the class of each photo, ≥ 0.
        positions: float64 (N,), of `positions_of`.
        count: Number of folds.

    Returns:
        int64 (N,), folds from 0.
    """
    _, sets, sizes = np.unique(positions, return_inverse=True, return_counts=True)
    folds = np.full(len(labels), -1, np.int64)
    filled = np.zeros((count, int(labels.max(initial=-1)) + 1), np.int64)
    order = np.argsort(sets, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)])
    several = np.flatnonzero(sizes > 1)
    for one in several[np.argsort(-sizes[several], kind="stable")].tolist():
        members = order[starts[one] : starts[one + 1]]
        classes, numbers = np.unique(labels[members], return_counts=True)
        cost = (filled[:, classes] * numbers).sum(axis=1)
        chosen = np.lexsort((filled.sum(axis=1), cost))[0]
        folds[members] = chosen
        filled[chosen, classes] += numbers
    single = order[np.isin(sets[order], np.flatnonzero(sizes == 1))]  # by position
    for label in np.unique(labels[single]).tolist():
        members = single[labels[single] == label]
        folds[members] = _fill(filled, label, len(members))
    return folds


def _fill(filled: NDArray[np.int64], label: int, number: int) -> NDArray[np.int64]:
    """Folds for single photos of a class, which ``filled`` then counts: each where the class is smallest, or the fold.

    Args:
        filled: int64 (folds, K), photos of each class in each fold.
        label: The class.
        number: How many photos.
    """
    totals = filled.sum(axis=1)
    # each fold takes a photo at each count from its present one on; the lowest counts of all folds come first
    levels = filled[:, label, None] + np.arange(number)
    folds = np.broadcast_to(np.arange(len(filled))[:, None], levels.shape).ravel()
    dealt = folds[np.lexsort((totals[folds], levels.ravel()))][:number]
    filled[:, label] += np.bincount(dealt, minlength=len(filled))
    return dealt
