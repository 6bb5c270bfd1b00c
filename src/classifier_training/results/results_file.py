"""``results.json``: the final scores of a run."""

from __future__ import annotations

from dataclasses import dataclass

from classifier_training.results.scores_file import ClassRow
from classifier_training.run.records import Count, Items, Number, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitScores:
    """The scores of the best weights on a split.

    Attributes:
        num_images: Number of images.
        top1: As in `ScoresFile`, as are the others.
        top5: Likewise.
        balanced_accuracy: Likewise.
        macro_f1: Likewise.
        classes: K of them.
        confusion: K rows, the true classes, of K counts.
    """

    num_images: Count
    top1: Share
    top5: Share
    balanced_accuracy: Share
    macro_f1: Share
    classes: Items[ClassRow]
    confusion: Items[Items[Count]]

    def __post_init__(self) -> None:
        if not self.classes or any(len(row) != len(self.classes) for row in (*self.confusion, self.confusion)):
            raise ValueError(f"has a confusion matrix that is not {len(self.classes)} x {len(self.classes)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsFile:
    """What readers of the file need of it.

    Attributes:
        monitor: The metric that decides which epoch is the best.
        best: The best epoch, from 0, as ``epoch``, and its monitored metric.
        test: The scores on the test split; None where there is none.
        val: The scores on the validation split, where there is no test split.
        epochs: Number of epochs that were trained.
        seconds: How long the last process trained.
    """

    monitor: str
    best: dict[str, Number]
    test: SplitScores | None = None
    val: SplitScores | None = None
    epochs: Count
    seconds: Number

    def __post_init__(self) -> None:
        if self.monitor not in self.best or not 0 <= self.best.get("epoch", -1) < 2**31:
            raise ValueError("has no best epoch")

    @property
    def best_epoch(self) -> int:
        """From 0."""
        return int(self.best["epoch"])

    @property
    def best_score(self) -> float:
        """The monitored metric of the best epoch."""
        return self.best[self.monitor]

    @property
    def split(self) -> str:
        """Which split the final scores are of."""
        return "val" if self.test is None else "test"

    @property
    def final(self) -> SplitScores | None:
        """The final scores."""
        return self.val if self.test is None else self.test
