"""How good a classifier is: every number follows from integer counts.

PyTorch, ONNX and another process that predict the same classes therefore report the same number to the last
digit; nothing is averaged in float32 or batch by batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import CheckpointError, DataError
from classifier_training.metrics.confusion import MAX_MATRIX_CLASSES, Confusion, as_confusion
from classifier_training.metrics.score_names import SCORE_TITLES


@dataclass(frozen=True, slots=True)
class ClassScores:
    """The scores of one class.

    Attributes:
        precision: Share of the images predicted as this class that are of it; None if it was never predicted.
        recall: Share of the images of this class that were predicted so; None if there is no image of it.
        f1: Harmonic mean of both, 2 TP / (2 TP + FP + FN); None if the class occurs nowhere.
        support: Number of images of this class.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The scores of one pass over a labelled set, in [0, 1].

    Attributes:
        num_images: Number of images scored.
        top1: Share whose most probable class is the true one.
        top5: Share whose true class is among the min(5, K) most probable.
        balanced_accuracy: Mean recall of the classes that have images.
        macro_f1: Mean F1 of the classes that occur as truth or as prediction.
        cells: How often each class was predicted as each class.
        classes: One for each class, in class order.
    """

    num_images: int
    top1: float
    top5: float
    balanced_accuracy: float
    macro_f1: float
    cells: Confusion
    classes: tuple[ClassScores, ...]

    @property
    def confusion(self) -> NDArray[np.int64]:
        """The confusion matrix, int64 (K, K), rows are the true class; made at every use (10,000 classes: 800 MB)."""
        return self.cells.matrix()

    def by_name(self) -> dict[str, float]:
        """The scores of all images by the names in `SCORE_TITLES`."""
        return {name: getattr(self, name) for name in SCORE_TITLES}

    def to_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """Plain values for JSON; an undefined score is None.

        Args:
            classes: K class names, in class order.
        """
        per_class = [
            {
                "class": name,
                "precision": scores.precision,
                "recall": scores.recall,
                "f1": scores.f1,
                "support": scores.support,
            }
            for name, scores in zip(classes, self.classes, strict=True)
        ]
        return {
            "num_images": self.num_images,
            **self.by_name(),
            "classes": per_class,
            **plain_confusion(self.cells),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The predictions for N labelled images, in their order.

    Attributes:
        labels: int64 (N,), true class indices.
        predicted: int64 (N,), the most probable classes; of equal ones the lower index.
        confidence: float32 (N,), softmax probability of the predicted class.
        losses: float32 (N,), minus the logarithm of the true class's probability.
        probabilities: float32 (N, K), or None where only the above was kept.
        before: The same before the logits were divided by a temperature, without `probabilities`; None: there is none.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]
    losses: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None = None
    before: Predictions | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_correct(self) -> NDArray[np.bool_]:
        """Whether each image was predicted as what it is: bool (N,)."""
        return np.equal(self.labels, self.predicted)


def predictions_from_logits(logits: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> Predictions:
    """The predictions that follow from logits, with the probability of every class.

    A NaN ranks last, as in `count_top5`; it has probability 0 and the loss of its image is infinite.

    Args:
        logits: Float (N, K).
        labels: Integer (N,), class indices in [0, K).
    """
    logits = np.where(np.isnan(logits), -np.inf, logits).astype(np.float64)
    top = logits.max(axis=1, keepdims=True, initial=-np.inf)
    shifted = logits - np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore", invalid="ignore"):  # an image of nothing but NaN has no probabilities
        log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    log_probabilities = np.where(np.isnan(log_probabilities), -np.inf, log_probabilities)
    probabilities = np.exp(log_probabilities).astype(np.float32)
    predicted = logits.argmax(axis=1)
    rows = np.arange(len(labels))
    return Predictions(
        labels=labels.astype(np.int64),
        predicted=predicted.astype(np.int64),
        confidence=probabilities[rows, predicted],
        losses=-log_probabilities[rows, labels].astype(np.float32),
        probabilities=probabilities,
    )


def plain_confusion(cells: Confusion) -> dict[str, Any]:
    """Plain values for JSON: ``confusion``, or ``confusion_cells`` with more than `MAX_MATRIX_CLASSES` classes."""
    if cells.num_classes <= MAX_MATRIX_CLASSES:
        return {"confusion": cells.matrix().tolist()}
    columns = {"true": cells.labels, "predicted": cells.predicted, "count": cells.counts}
    return {"confusion_cells": {name: values.tolist() for name, values in columns.items()}}


def scores_from_confusion(confusion: Confusion | NDArray[np.int64], num_top5: int) -> Scores:
    """Computes every score from the counts of one pass; counts of several batches are simply added before.

    Args:
        confusion: The cells, or all of them, integer (K, K), rows are the true class, columns the predicted one.
        num_top5: Number of images whose true class was among the min(5, K) most probable.

    Raises:
        DataError: There is no image to score.
    """
    cells = as_confusion(confusion)
    num_images = cells.num_images
    if num_images == 0:
        raise DataError("there is no image to score")
    hits, support, predicted = cells.hits, cells.support, cells.num_predicted
    classes = tuple(
        _class_scores(*counts) for counts in zip(hits.tolist(), support.tolist(), predicted.tolist(), strict=True)
    )
    return Scores(
        num_images=num_images,
        top1=int(hits.sum()) / num_images,
        top5=int(num_top5) / num_images,
        balanced_accuracy=_mean([scores.recall for scores in classes]),
        macro_f1=_mean([scores.f1 for scores in classes]),
        cells=cells,
        classes=classes,
    )


def check_finite(logits: NDArray[np.floating[Any]], model: str, names: Sequence[str]) -> None:
    """Refuses logits of n images, float (n, K), that are not finite numbers: such a model is worth no score.

    Args:
        logits: Float (n, K).
        model: What gave them.
        names: The n images.

    Raises:
        CheckpointError: They are not; names the first image.
    """
    is_finite = np.isfinite(logits).all(axis=1)
    if not is_finite.all():
        raise CheckpointError(
            f"{model} gives logits that are not finite numbers, first for {names[int(is_finite.argmin())]}: its"
            " training diverged; use another one"
        )


def count_top5(logits: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> int:
    """The number of images whose true class is among the min(5, K) most probable.

    Of equal logits the lower class index comes first, so a model that gives every class the same does not count
    as correct; a NaN ranks last.

    Args:
        logits: Float (N, K).
        labels: Integer (N,), class indices in [0, K).

    Raises:
        ValueError: The shapes do not fit, or a label is out of range.
    """
    labels = np.asarray(labels, dtype=np.int64)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"logits must be (N, K) and labels (N,); got {logits.shape} and {labels.shape}")
    num_classes = logits.shape[1]
    if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
        raise ValueError(f"labels must be in [0, {num_classes}); got {labels.min()} to {labels.max()}")
    logits = np.where(np.isnan(logits), -np.inf, logits)
    true_logits = np.take_along_axis(logits, labels[:, None], axis=1)
    is_lower_index = np.arange(num_classes) < labels[:, None]
    rank = ((logits > true_logits) | ((logits == true_logits) & is_lower_index)).sum(axis=1)
    return int((rank < 5).sum())


def _class_scores(num_hits: int, support: int, num_predicted: int) -> ClassScores:
    return ClassScores(
        precision=num_hits / num_predicted if num_predicted else None,
        recall=num_hits / support if support else None,
        f1=2 * num_hits / (support + num_predicted) if support + num_predicted else None,
        support=support,
    )


def _mean(values: Sequence[float | None]) -> float:
    defined = [value for value in values if value is not None]
    return float(np.mean(np.asarray(defined, dtype=np.float64)))
