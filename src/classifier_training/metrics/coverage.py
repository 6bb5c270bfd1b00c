"""Coverage against accuracy: what is gained by leaving uncertain images to a human."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from classifier_training.metrics.scores import Predictions

NUM_STEPS = 100


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """What follows from answering only where the confidence reaches a threshold.

    Attributes:
        threshold: The lowest confidence that is answered.
        coverage: Share of the images that are answered.
        accuracy: Share of these that is predicted correctly; None where none is answered.
    """

    threshold: float
    coverage: float
    accuracy: float | None


def coverage_curve(predictions: Predictions, num_steps: int = NUM_STEPS) -> tuple[CoveragePoint, ...]:
    """Coverage and accuracy for thresholds from 0 to 1.

    Source: Y. Geifman and R. El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017.

    Args:
        predictions: Of N images, at least one. A confidence that is not a number counts as 0.
        num_steps: There is one point more than steps.
    """
    # compared in the confidence's own precision: 0.9 as float32 reaches the threshold 0.9
    thresholds = np.arange(num_steps + 1) / num_steps
    confidence = np.nan_to_num(predictions.confidence, nan=0.0)
    order = np.argsort(confidence, kind="stable")
    first = np.searchsorted(confidence[order], thresholds.astype(confidence.dtype), side="left")
    num_correct = np.append(np.cumsum(predictions.is_correct[order][::-1])[::-1], 0)
    num_answered = len(confidence) - first
    return tuple(
        CoveragePoint(threshold, answered / len(confidence), correct / answered if answered else None)
        for threshold, answered, correct in zip(
            thresholds.tolist(), num_answered.tolist(), num_correct[first].tolist(), strict=True
        )
    )
