"""``folds.json``: the scores of each fold of a cross-validation, and their means."""

from __future__ import annotations

from dataclasses import dataclass

from classifier_training.run.records import Count, Interval, Items, Number, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldRow:
    """One fold: the scores of its run on the photos that it has not trained on.

    Attributes:
        fold: From 1.
        num_images: Photos of the fold.
        best_epoch: Of its run, from 0.
        seconds: How long its run trained.
    """

    fold: Count
    num_images: Count
    top1: Share
    balanced_accuracy: Share
    macro_f1: Share
    best_epoch: Count
    seconds: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldsFile:
    """A cross-validation.

    Attributes:
        folds: One row each.
        means: Mean over the folds, by the name of the score.
        intervals: The interval of each mean, see `fold_interval`.
        confidence_level: Of the intervals.
        has_final: Whether a final model was trained on all folds, in ``final/``.
    """

    folds: Items[FoldRow]
    means: dict[str, Share]
    intervals: dict[str, Interval]
    confidence_level: Share
    has_final: bool = False

    def __post_init__(self) -> None:
        if len(self.folds) < 2 or not self.means.keys() == self.intervals.keys():
            raise ValueError("has no folds, or means without intervals")
