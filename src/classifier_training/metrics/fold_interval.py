"""The interval of a score over the folds of a cross-validation."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def fold_interval(scores: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """The interval of the mean score of k folds, by Student's t with the corrected variance.

    The training sets of two folds share most of their photos, so the variance of the mean is taken as (1/k + n₂/n₁) s²,
    with n₂/n₁ = 1/(k − 1) the photos tested on for each one trained on: Nadeau and Bengio, "Inference for the
    generalization error", Machine Learning 52 (2003).

    Args:
        scores: k ≥ 2 scores in [0, 1].
        level: Confidence level.

    Returns:
        Low and high end, within [0, 1].
    """
    from scipy.stats import t

    count, mean = len(scores), statistics.fmean(scores)
    variance = (1 / count + 1 / (count - 1)) * statistics.variance(scores)
    half = float(t.ppf((1 + level) / 2, count - 1)) * math.sqrt(variance)
    return max(0.0, mean - half), min(1.0, mean + half)
