"""``results.json``: the final scores of a run, and its exports."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from classifier_training.files.atomic import write_json
from classifier_training.results.folder import class_rows
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.results.scores_file import ClassRow
from classifier_training.run.records import Count, Interval, Items, Number, Share, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitScores:
    """The scores of the best weights on a split, as in `ScoresFile`.

    Attributes:
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
    intervals: dict[str, Interval | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.classes or any(len(row) != len(self.classes) for row in (*self.confusion, self.confusion)):
            raise ValueError(f"has a confusion matrix that is not {len(self.classes)} x {len(self.classes)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsFile:
    """The end of a training.

    Attributes:
        monitor: The metric that decides which epoch is the best.
        best: The best epoch, from 0, as ``epoch``, and its monitored metric.
        test: The scores on the test split; None where there is none.
        val: The scores on the validation split, where there is no test split.
        epochs: Number of epochs that were trained.
        seconds: How long the last process trained.
        left_out: Files of the data set that could not be read.
        export: The verification of the default export; None where it was switched off. Version 0.1 has only this.
        exports: The verification of each export by its form.
    """

    monitor: str
    best: dict[str, Number]
    test: SplitScores | None = None
    val: SplitScores | None = None
    epochs: Count
    seconds: Number
    left_out: Items[str] = ()
    export: dict[str, Any] | None = None
    exports: dict[str, dict[str, Any]] = field(default_factory=dict)

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


def split_scores(scored: ScoredPass) -> SplitScores:
    """The scores of a pass as ``results.json`` holds them."""
    scores = scored.scores
    return SplitScores(
        num_images=scores.num_images,
        top1=scores.top1,
        top5=scores.top5,
        balanced_accuracy=scores.balanced_accuracy,
        macro_f1=scores.macro_f1,
        classes=class_rows(scored),
        confusion=tuple(map(tuple, scores.confusion.tolist())),
        intervals=scored.intervals.by_name(),
    )


def write_results(path: Path, results: ResultsFile) -> None:
    """Writes the file atomically; a split that was not scored has no key."""
    values = to_json(results)
    write_json(path, {key: value for key, value in values.items() if value is not None or key == "export"})
