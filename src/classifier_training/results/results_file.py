"""``results.json``: the final scores of a run, and its exports."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from classifier_training.files.atomic import write_json
from classifier_training.metrics.confusion import Confusion
from classifier_training.metrics.scores import plain_confusion
from classifier_training.results.decision_file import DecisionRecord
from classifier_training.results.final_choice import FinalChoice
from classifier_training.results.folder import class_rows
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.results.scores_file import CalibrationFigures, ClassRow
from classifier_training.results.unknown_file import UnknownRecord
from classifier_training.run.records import Count, Interval, Items, Limits, Number, Share, to_json

CellColumn = Annotated[tuple[Count, ...], Limits(fail_fast=True, max_length=2**24)]
"""A number for each cell: at most as many as there are images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionCells:
    """The cells of a confusion matrix that are not empty, each a position in three lists of one length.

    Attributes:
        true: The index of the true class.
        predicted: The index of the predicted class.
        count: The number of images.
    """

    true: CellColumn
    predicted: CellColumn
    count: CellColumn

    def __post_init__(self) -> None:
        if not len(self.true) == len(self.predicted) == len(self.count):
            raise ValueError("has cells of a confusion matrix in lists of different lengths")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitScores:
    """The scores of the best weights on a split, as in `ScoresFile`.

    Attributes:
        classes: K of them.
        confusion: K rows, the true classes, of K counts; None with more than `MAX_MATRIX_CLASSES` classes.
        confusion_cells: The cells of that matrix that are not empty, where it is None.
        precision: ``float32``, as the deployed file answers; None in files of early versions, as of the training.
    """

    num_images: Count
    top1: Share
    top5: Share
    balanced_accuracy: Share
    macro_f1: Share
    classes: Items[ClassRow]
    confusion: Items[Items[Count]] | None = None
    confusion_cells: ConfusionCells | None = None
    intervals: dict[str, Interval | None] = field(default_factory=dict)
    precision: str | None = None

    def __post_init__(self) -> None:
        num_classes, rows, cells = len(self.classes), self.confusion, self.confusion_cells
        if rows is not None and num_classes and all(len(row) == num_classes for row in (*rows, rows)):
            return
        if rows is not None or cells is None or max((*cells.true, *cells.predicted), default=-1) >= num_classes:
            raise ValueError(f"has a confusion matrix that is not {num_classes} x {num_classes}")

    @property
    def cells(self) -> Confusion:
        """The confusion matrix."""
        if self.confusion_cells is None:
            return Confusion.from_matrix(self.confusion or ())
        columns = (self.confusion_cells.true, self.confusion_cells.predicted, self.confusion_cells.count)
        labels, predicted, counts = (np.array(column, np.int64) for column in columns)
        return Confusion.from_pairs(labels, predicted, len(self.classes), counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """The guard of a training: its best weights, scored on the validation split again, against the number they had.

    Attributes:
        monitor: The monitored metric.
        monitored: Its value in the best epoch.
        measured: Its value of ``best.ckpt``.
        tolerance: The largest difference that is allowed; 0 for scores wherever the arithmetic is the same.
        passed: Whether the difference is within it.
        precision: Of both, that of the training.
    """

    monitor: str
    monitored: Number
    measured: Number
    tolerance: Number
    passed: bool
    precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperatureRecord:
    """The temperature of the best weights, fitted on the validation split.

    Attributes:
        value: What logits are divided by; 1 where none was fitted.
        num_images: Number of validation images it was fitted on.
        reason: Why none was fitted; empty where one was.
        split: Which split ``before`` and ``after`` are of: ``test``, or ``val`` where there is no other.
        num_folds: Of how many folds of a cross-validation it is the mean, for the final model; 0: it is its own.
        before: Calibration without the temperature; None where there is none.
        after: Calibration with it.
    """

    value: Number
    num_images: Count
    reason: str
    split: str
    before: CalibrationFigures | None = None
    after: CalibrationFigures | None = None
    num_folds: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedBest:
    """What was recorded of the best weights, where ``best.ckpt`` holds those of another epoch, which were scored.

    Attributes:
        epoch: The recorded best epoch, from 0.
        score: Its monitored metric.
        found_epoch: The epoch of the weights in ``best.ckpt``, from 0.
        found_score: Their monitored metric; None where it is not known.
    """

    epoch: Count
    score: Number
    found_epoch: Count
    found_score: Number | None = None


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
        reproduction: Whether ``best.ckpt`` has reproduced the monitored metric; None in files of early versions.
        replaced_best: What was recorded of other best weights; None: ``best.ckpt`` is of the recorded best epoch.
        choice: Which weights ``best.ckpt`` holds; None: those of the best epoch, as nothing else was to be chosen.
        temperature: Of the probabilities; None: none was asked for, as in versions that had none.
        decision: The thresholds on the probabilities; None: there is none, as in versions that had none.
        unknown: The unknown score; None: none was asked for, as in versions that had none.
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
    reproduction: Reproduction | None = None
    replaced_best: ReplacedBest | None = None
    choice: FinalChoice | None = None
    temperature: TemperatureRecord | None = None
    decision: DecisionRecord | None = None
    unknown: UnknownRecord | None = None

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
        **_confusion(scores.cells),
        intervals=scored.intervals.by_name(),
        precision=scored.precision,
    )


def _confusion(cells: Confusion) -> dict[str, Any]:
    plain = plain_confusion(cells)
    if "confusion" in plain:
        return {"confusion": tuple(map(tuple, plain["confusion"]))}
    return {
        "confusion_cells": ConfusionCells(**{name: tuple(column) for name, column in plain["confusion_cells"].items()})
    }


def write_results(path: Path, results: ResultsFile) -> None:
    """Writes the file atomically; a split that was not scored, and a form that was not used, has no key."""
    values = to_json(results)
    for split in ("test", "val"):
        if values[split] is not None:
            values[split] = {key: value for key, value in values[split].items() if value is not None}
    write_json(path, {key: value for key, value in values.items() if value is not None or key == "export"})
