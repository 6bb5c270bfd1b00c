"""Whether confidence equals accuracy: reliability bins and the expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from classifier_training.metrics.scores import Predictions

NUM_BINS: Final = 15


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The images whose confidence lies in (low, high]; the first bin has those of confidence 0, too.

    Attributes:
        low: Lower edge.
        high: Upper edge.
        count: Number of images.
        confidence: Their mean confidence; None without images.
        accuracy: The share of them that is predicted correctly; None without images.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """How confidence and accuracy go together.

    Attributes:
        expected_calibration_error: Mean distance of both over the images, in [0, 1].
        bins: Of equal width, from 0 to 1.
    """

    expected_calibration_error: float
    bins: tuple[ReliabilityBin, ...]


def calibrate(predictions: Predictions, num_bins: int = NUM_BINS) -> Calibration:
    """Sorts images by confidence into bins of equal width.

    The error is Σ_b n_b / N · abs(accuracy_b - confidence_b). Source: C. Guo et al., "On calibration of modern neural
    networks", ICML 2017, equations 3 and 5.

    Args:
        predictions: Of N images, at least one. A confidence that is not a number counts as 0.
        num_bins: Number of bins.
    """
    edges = np.linspace(0, 1, num_bins + 1)
    confidence = np.nan_to_num(predictions.confidence.astype(np.float64), nan=0.0)
    places = np.searchsorted(edges[1:-1], confidence, side="left")
    counts = np.bincount(places, minlength=num_bins)
    confidences = np.bincount(places, confidence, num_bins)
    hits = np.bincount(places, predictions.is_correct, num_bins)
    bins = tuple(
        ReliabilityBin(low, high, count, total / count if count else None, num_correct / count if count else None)
        for low, high, count, total, num_correct in zip(
            edges[:-1].tolist(),
            edges[1:].tolist(),
            counts.tolist(),
            confidences.tolist(),
            hits.tolist(),
            strict=True,
        )
    )
    return Calibration(float(np.abs(hits - confidences).sum() / len(confidence)), bins)
