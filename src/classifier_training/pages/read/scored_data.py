"""What a model said of labelled images, as a page shows it: read from the files of a `ScoredFolder`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ClassRow:
    """The scores of one class, in [0, 1].

    Attributes:
        name: The class.
        precision: None if it was never predicted.
        recall: None if there is no image of it.
        f1: None if it occurs nowhere.
        support: Number of images of it.
        precision_interval: Low and high end at the confidence level of the scores, or None.
        recall_interval: The same of the recall.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    precision_interval: Interval | None
    recall_interval: Interval | None


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Images whose confidence lies between two values.

    Attributes:
        low: Lower end.
        high: Upper end.
        count: Number of images.
        confidence: Their mean confidence; None without images.
        accuracy: Share of them that is right; None without images.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """What is answered, and how well, when answers below a confidence are left to a person.

    Attributes:
        threshold: The confidence.
        coverage: Share of the images that is answered.
        accuracy: Share of those that is right; None where nothing is answered.
    """

    threshold: float
    coverage: float
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Example:
    """An image that is shown.

    Attributes:
        index: Position in the split.
        file: Its name, for a person.
        true: Index of its class.
        predicted: Index of the class that was predicted.
        confidence: Probability of the predicted class.
        loss: Minus the logarithm of the true class's probability; None: it is infinite.
        why: What it is shown as: of ``worst``, ``least_certain`` and ``cell``.
        thumbnail: An existing JPEG file, or None where it is gone.
        cam: An existing JPEG file with what the model looked at, or None.
    """

    index: int
    file: str
    true: int
    predicted: int
    confidence: float
    loss: float | None
    why: frozenset[str]
    thumbnail: Path | None
    cam: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class PredictionColumns:
    """One row an image, N of them, in the order of the split.

    Attributes:
        files: N names.
        labels: int64 (N,), true class indices.
        predicted: int64 (N,), predicted class indices.
        confidence: float64 (N,).
        losses: float64 (N,).
    """

    files: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    losses: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredData:
    """One pass of a model over labelled images; scores are in [0, 1].

    Attributes:
        root: The folder that it was read from.
        description: What was scored, for a person.
        split: ``train``, ``val``, ``test``, or None for other photos.
        epoch: Of the weights, from 0; None where it is not known.
        model: What was scored, for a person: a file, or the model in training.
        classes: K names.
        num_images: Number of images.
        top1: Share whose most probable class is the true one.
        top5: Share whose true class is among the five most probable.
        balanced_accuracy: Mean recall of the classes that have images.
        macro_f1: Mean F1 of the classes that occur.
        confidence_level: Of all intervals, such as 0.95.
        intervals: By ``top1``, ``top5``, ``balanced_accuracy``, ``macro_f1``; None where there is none.
        per_class: K of them.
        expected_calibration_error: None where it is not known.
        calibration: Bins of the reliability diagram; empty where it is not known.
        coverage: Empty where it is not known.
        num_trained_on: How many of the images the model was trained on.
        left_out: Files that could not be read.
        confusion: int64 (K, K), rows are the true class; None where it is not known.
        images: Those that are shown.
        predictions: One row an image; None where they were not asked for or are not known.
        examples_epoch: By whose weights the images were judged, where that is another epoch than the scores'.
    """

    root: Path
    description: str
    split: str | None
    epoch: int | None
    model: str
    classes: tuple[str, ...]
    num_images: int
    top1: float
    top5: float
    balanced_accuracy: float
    macro_f1: float
    confidence_level: float
    intervals: Mapping[str, Interval | None]
    per_class: tuple[ClassRow, ...]
    expected_calibration_error: float | None
    calibration: tuple[CalibrationBin, ...]
    coverage: tuple[CoveragePoint, ...]
    num_trained_on: int
    left_out: tuple[str, ...]
    confusion: NDArray[np.int64] | None
    images: tuple[Example, ...]
    predictions: PredictionColumns | None
    examples_epoch: int | None = None
