"""What a run predicted on its validation split, for the deployment card: what drift is measured against later."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from classifier_training.errors import CheckpointError, RunError
from classifier_training.inference.decision import Decision
from classifier_training.models.checkpoint import read_validated
from classifier_training.results.folder import read_scores
from classifier_training.results.tables import read_confusion_csv
from classifier_training.run.folder import RunFolder
from classifier_training.run.records import DamagedFileError


def validation_answers(
    run: RunFolder, classes: Sequence[str], epoch: int, decision: Decision | None
) -> dict[str, Any] | None:
    """What the deployed model answers on the validation images of its run.

    Args:
        run: The run.
        classes: The class names of its best weights.
        epoch: Of them, from 0.
        decision: When the deployed model abstains.

    Returns:
        ``predicted``, the number of images by predicted class, and, where the model may abstain, ``abstained`` of
        ``num_images``. None where neither ``best.ckpt`` nor ``val/`` knows it of these weights.
    """
    with contextlib.suppress(CheckpointError):
        images = read_validated(run.best_checkpoint)
        if images.predicted is not None:
            counts = np.bincount(images.predicted, minlength=len(classes)).tolist()
            answers: dict[str, Any] = {"predicted": dict(zip(classes, counts, strict=True))}
            if decision is not None and decision.abstain_threshold is not None:
                abstained = int(decision.decide(images.confidence[:, None]).abstain.sum())
                answers |= {"abstained": abstained, "num_images": len(images)}
            return answers
    folder = run.scored("val")
    with contextlib.suppress(RunError, DamagedFileError, OSError):
        scores = read_scores(folder)
        if scores.epoch == epoch:
            counts = read_confusion_csv(folder.confusion, scores.classes).num_predicted.tolist()
            return {"predicted": dict(zip(scores.classes, counts, strict=True))}
    return None
