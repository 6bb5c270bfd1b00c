"""What a run predicted on its validation split, for the deployment card: what drift is measured against later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from classifier_training.errors import CheckpointError
from classifier_training.inference.decision import Decision
from classifier_training.models.checkpoint import read_validated
from classifier_training.run.folder import RunFolder


def validation_answers(run: RunFolder, classes: Sequence[str], decision: Decision | None) -> dict[str, Any] | None:
    """What the deployed model answers on the validation images of its run.

    Args:
        run: The run.
        classes: The class names of its best weights.
        decision: When the deployed model abstains.

    Returns:
        ``predicted``, the number of images by predicted class, and, where the model may abstain, ``abstained`` of
        ``num_images``. None where ``best.ckpt`` does not know it, as there were too few images for any threshold.
    """
    try:
        images = read_validated(run.best_checkpoint)
    except CheckpointError:
        return None
    if images.predicted is None:
        return None
    counts = np.bincount(images.predicted, minlength=len(classes)).tolist()
    answers: dict[str, Any] = {"predicted": dict(zip(classes, counts, strict=True))}
    if decision is not None and decision.abstain_threshold is not None:
        abstained = int(decision.decide(images.confidence[:, None]).abstain.sum())
        answers |= {"abstained": abstained, "num_images": len(images)}
    return answers
