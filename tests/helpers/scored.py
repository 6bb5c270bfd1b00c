"""Predictions and scores as a model might give them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.helpers.confusion import confusion_and_top5

from classifier_training.metrics.intervals import score_intervals
from classifier_training.metrics.scores import (
    Predictions,
    Scores,
    predictions_from_logits,
    scores_from_confusion,
)
from classifier_training.results.scored_pass import LabelledImages, ScoredPass

NASTY_NAMES = (
    "<script>alert(1)</script>",
    "../../etc",
    'a "quoted", name',
    "line\nbreak",
    "carriage\rreturn",
    "$math$",
    "قطة",
    "🐈",
    "x" * 300,
    "",
)
"""Names of classes and files that break whoever takes them for something else than text."""


def make_scored(num_images: int, num_classes: int, seed: int = 0) -> tuple[Scores, Predictions]:
    """What a model said that is right more often than not."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(num_images, num_classes)).astype(np.float32)
    labels = generator.integers(0, num_classes, num_images)
    logits[np.arange(num_images), labels] += 2
    return scores_from_confusion(*confusion_and_top5(logits, labels)), predictions_from_logits(logits, labels)


def make_pass(scores: Scores, predictions: Predictions, classes: Sequence[str], **changes: Any) -> ScoredPass:
    """A pass over the validation split after epoch 4.

    Args:
        scores: Its scores.
        predictions: Its predictions.
        classes: K class names.
        changes: Other attributes of the pass or of its images.
    """
    images: dict[str, Any] = {
        "files": [f"{number}.jpg" for number in range(len(predictions))],
        "labels": predictions.labels,
        "classes": tuple(classes),
        "description": "the val split",
        "split": "val",
    }
    values: dict[str, Any] = {"model": "a.ckpt", "epoch": 3, "intervals": score_intervals(scores)}
    for name, value in changes.items():
        (images if name in LabelledImages.__slots__ else values)[name] = value
    return ScoredPass(images=LabelledImages(**images), scores=scores, predictions=predictions, **values)


def write_old_predictions(path: Path, predictions: Predictions, classes: Sequence[str], files: Sequence[str]) -> None:
    """Writes ``predictions.csv`` as version 0.1 did: wide, with the probability of each class."""
    assert predictions.probabilities is not None
    columns = ["file", "true", "predicted", "confidence", "loss", *(f"probability_{name}" for name in classes)]
    numbers = np.column_stack([predictions.confidence, predictions.losses, predictions.probabilities])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for name, label, predicted, row in zip(files, predictions.labels, predictions.predicted, numbers, strict=True):
            writer.writerow([name, classes[label], classes[predicted], *(f"{number:.7g}" for number in row)])
