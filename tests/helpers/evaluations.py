"""Evaluations of a model that need no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from classifier_training.evaluation.evaluate import Evaluation
from classifier_training.evaluation.labelled import LabelledImages
from classifier_training.metrics.intervals import score_intervals
from classifier_training.metrics.scores import (
    Predictions,
    Scores,
    confusion_and_top5,
    predictions_from_logits,
    scores_from_confusion,
)
from classifier_training.results.folder import write_scored
from classifier_training.run.folder import ScoredFolder
from classifier_training.types import ImageRecord, Preprocessing, Sample

CLASSES = ("cat", "dog", "owl")


def make_evaluation(is_correct: Sequence[bool], classes: Sequence[str] = CLASSES) -> Evaluation:
    """An evaluation in which each photo was predicted right or wrong; nothing is written."""
    labels = np.arange(len(is_correct)) % len(classes)
    scores, predictions = said(labels, is_correct, len(classes))
    samples = tuple(
        Sample(ImageRecord(f"/photos/{number}.jpg"), classes[label]) for number, label in enumerate(labels.tolist())
    )
    digests = tuple(f"{number:032x}" for number in range(len(is_correct)))
    return Evaluation(
        model=Path("runs/this/checkpoints/best.ckpt"),
        photos=None,
        labelled=LabelledImages(samples, tuple(labels.tolist()), (), "the test split of /photos", "test", digests),
        classes=tuple(classes),
        scores=scores,
        intervals=score_intervals(scores),
        predictions=predictions,
        preprocessing=Preprocessing(),
    )


def write_other(
    folder: Path, evaluation: Evaluation, is_correct: Sequence[bool], *, model: str = "other.onnx", skip: int = 0
) -> Path:
    """The evaluation folder of another model on the same photos, but for the first ``skip``."""
    labels = np.array(evaluation.labelled.labels)
    scores, predictions = said(labels[skip:], is_correct[skip:], len(evaluation.classes))
    write_scored(
        ScoredFolder(folder),
        scores,
        predictions,
        evaluation.classes,
        [sample.path for sample in evaluation.labelled.samples[skip:]],
        description="the test split of /photos",
        split="test",
        epoch=None,
        model=model,
    )
    return folder


def said(labels: np.ndarray, is_correct: Sequence[bool], num_classes: int) -> tuple[Scores, Predictions]:
    """What a model says that is right where it is told to be."""
    predicted = np.where(is_correct, labels, (labels + 1) % num_classes)
    logits = np.zeros((len(labels), num_classes), np.float32)
    logits[np.arange(len(labels)), predicted] = 2
    return scores_from_confusion(*confusion_and_top5(logits, labels)), predictions_from_logits(logits, labels)
