"""Predictions and scores as a model might give them."""

from __future__ import annotations

import numpy as np

from classifier_training.metrics.scores import (
    Predictions,
    Scores,
    confusion_and_top5,
    predictions_from_logits,
    scores_from_confusion,
)

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
