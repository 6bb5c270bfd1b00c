"""What confidence is worth: calibration against accuracy, and the accuracy of the images that are answered."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.metrics.scores import Predictions
from classifier_training.results.scores_file import CalibrationBin, CalibrationBins, CoveragePoint

NUM_BINS: Final = 15
NUM_STEPS: Final = 100


def calibrate(predictions: Predictions, num_bins: int = NUM_BINS) -> CalibrationBins:
    """Sorts images by confidence into bins of equal width.

    The error is Σ_b n_b / N · abs(accuracy_b - confidence_b). Source: C. Guo et al., "On calibration of modern neural
    networks", ICML 2017, equations 3 and 5.

    Args:
        predictions: Of N images, at least one. A confidence that is not a number counts as 0.
        num_bins: Number of bins.
    """
    edges = np.linspace(0, 1, num_bins + 1)
    confidence = np.nan_to_num(predictions.confidence.astype(np.float64), nan=0.0)
    places = calibration_bins(predictions, num_bins)
    counts = np.bincount(places, minlength=num_bins)
    confidences = np.bincount(places, confidence, num_bins)
    hits = np.bincount(places, predictions.is_correct, num_bins)
    bins = tuple(
        CalibrationBin(low, high, count, total / count if count else None, num_correct / count if count else None)
        for low, high, count, total, num_correct in zip(
            edges[:-1].tolist(),
            edges[1:].tolist(),
            counts.tolist(),
            confidences.tolist(),
            hits.tolist(),
            strict=True,
        )
    )
    return CalibrationBins(float(np.abs(hits - confidences).sum() / len(confidence)), bins)


def calibration_bins(predictions: Predictions, num_bins: int = NUM_BINS) -> NDArray[np.intp]:
    """The bin of each of N images by its confidence, (N,); arguments as of `calibrate`."""
    edges = np.linspace(0, 1, num_bins + 1)
    confidence = np.nan_to_num(predictions.confidence.astype(np.float64), nan=0.0)
    return np.searchsorted(edges[1:-1], confidence, side="left")


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
