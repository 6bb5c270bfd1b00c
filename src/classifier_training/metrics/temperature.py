"""Temperature scaling: one number that makes the confidence of a classifier fit its accuracy, and moves no label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

TEMPERATURE: Final = "temperature"
"""Key of a checkpoint that has one."""

MIN_IMAGES: Final = 30
"""Fewer images say too little about a confidence."""

LIMITS: Final = (0.05, 20.0)
"""A temperature that reaches one of these would go on to 0 or to infinity: there is no best one."""

MAX_VALUES: Final = 25_000_000
"""The most logits, N times K, that one temperature is fitted to: 25,000 images of 1,000 classes, 100 MB."""

_AT_ONCE: Final = 2**20


@dataclass(frozen=True, slots=True)
class FittedTemperature:
    """A temperature, or why there is none.

    Attributes:
        value: What logits are divided by; 1 where none was fitted.
        num_images: Number of images it was fitted to.
        reason: Why none was fitted; empty where one was.
    """

    value: float
    num_images: int
    reason: str = ""

    @property
    def is_fitted(self) -> bool:
        """Whether there is a temperature."""
        return not self.reason


def too_few_images(num_images: int) -> FittedTemperature | None:
    """The answer where there are too few images to look at a single logit; None: there are enough."""
    if num_images >= MIN_IMAGES:
        return None
    reason = f"{num_images} validation images are too few, {MIN_IMAGES} are needed"
    return FittedTemperature(1.0, num_images, reason)


def fit_temperature(logits: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> FittedTemperature:
    """Fits the temperature T of the lowest mean log-loss of softmax(z / T), by L-BFGS on log T.

    As the order of the logits stays, so does every predicted class. Source: C. Guo et al., "On calibration of modern
    neural networks", ICML 2017, section 4.2.

    Args:
        logits: Float (N, K), of images that the model was not trained on.
        labels: Integer (N,), class indices in [0, K).
    """
    few = too_few_images(len(labels))
    if few is not None:
        return few
    if not np.isfinite(logits).all():
        return FittedTemperature(1.0, len(labels), "a logit is not a finite number")
    from scipy.optimize import minimize  # here, as what deploys a model has no scipy

    shifted = logits - logits.max(axis=1, keepdims=True)
    low, high = (math.log(limit) for limit in LIMITS)
    found = minimize(
        lambda log_t: _log_loss(float(log_t[0]), shifted, labels),
        np.zeros(1),
        jac=True,
        method="L-BFGS-B",
        bounds=[(low, high)],
        options={"ftol": 1e-14, "gtol": 1e-9},
    )
    log_t = float(found.x[0])
    if log_t < low + 1e-3:
        reason = f"the confidences are so low for what is correct that the best one is below {LIMITS[0]:g}"
        if bool((logits.argmax(axis=1) == labels).all()):
            reason = f"all {len(labels)} validation images are predicted correctly, so no confidence is too high"
    elif log_t > high - 1e-3:
        reason = f"the predictions tell too little about the classes: the best one is above {LIMITS[1]:g}"
    else:
        return FittedTemperature(math.exp(log_t), len(labels))
    return FittedTemperature(1.0, len(labels), reason)


def _log_loss(
    log_t: float, shifted: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]
) -> tuple[float, NDArray[np.float64]]:
    """Mean log-loss at a temperature and its derivative by log T; the largest of each row of logits is 0."""
    beta, loss, slope = math.exp(-log_t), 0.0, 0.0
    rows_at_once = max(1, _AT_ONCE // shifted.shape[1])
    for start in range(0, len(labels), rows_at_once):
        part = shifted[start : start + rows_at_once].astype(np.float64)
        of_truth = np.take_along_axis(part, labels[start : start + rows_at_once, None], axis=1)[:, 0]
        weights = np.exp(part * beta)
        sums = weights.sum(axis=1)
        loss += float((np.log(sums) - of_truth * beta).sum())
        slope += float(((weights * part).sum(axis=1) / sums - of_truth).sum())
    return loss / len(labels), np.array([-beta * slope / len(labels)])
