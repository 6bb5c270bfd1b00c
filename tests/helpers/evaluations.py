"""Evaluations of a model that need no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tests.helpers.confusion import confusion_and_top5
from tests.helpers.scored import make_pass

from classifier_training.metrics.scores import (
    Predictions,
    Scores,
    predictions_from_logits,
    scores_from_confusion,
)
from classifier_training.results.folder import write_scored
from classifier_training.results.scored_pass import LabelledImages, ScoredPass
from classifier_training.run.folder import ScoredFolder
from classifier_training.types import ImageRecord

CLASSES = ("cat", "dog", "owl")


def make_evaluation(is_correct: Sequence[bool], classes: Sequence[str] = CLASSES) -> ScoredPass:
    """A pass in which each image was predicted right or wrong; nothing is written."""
    labels = np.arange(len(is_correct)) % len(classes)
    files = [f"/photos/{number}.jpg" for number in range(len(is_correct))]
    return make_pass(
        *predict(labels, is_correct, len(classes)),
        classes,
        files=files,
        description="the test split of /photos",
        split="test",
        records=[ImageRecord(file) for file in files],
        digests=tuple(f"{number:032x}" for number in range(len(is_correct))),
        model="runs/this/checkpoints/best.ckpt",
    )


def write_other(
    folder: Path, images: LabelledImages, is_correct: Sequence[bool], *, model: str = "other.onnx", skip: int = 0
) -> Path:
    """The evaluation folder of another model on the same images, but for the first ``skip``."""
    scores, predictions = predict(images.labels[skip:], is_correct[skip:], len(images.classes))
    scored = make_pass(
        scores,
        predictions,
        images.classes,
        files=images.files[skip:],
        description="the test split of /photos",
        split="test",
        epoch=None,
        model=model,
    )
    write_scored(ScoredFolder(folder), scored)
    return folder


def predict(labels: np.ndarray, is_correct: Sequence[bool], num_classes: int) -> tuple[Scores, Predictions]:
    """The scores and predictions of a model that is right where ``is_correct``."""
    predicted = np.where(is_correct, labels, (labels + 1) % num_classes)
    logits = np.zeros((len(labels), num_classes), np.float32)
    logits[np.arange(len(labels)), predicted] = 2
    return scores_from_confusion(*confusion_and_top5(logits, labels)), predictions_from_logits(logits, labels)
