"""What a temperature changes: calibration before and after, with intervals."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.metrics.intervals import CONFIDENCE_LEVEL, NUM_RESAMPLES, Interval
from classifier_training.metrics.scores import Predictions
from classifier_training.results.confidence import NUM_BINS, calibrate, calibration_bins
from classifier_training.results.scores_file import CalibrationFigures, TemperatureEffect

MAX_SAMPLED: Final = 50_000_000
"""Images that are sampled for an interval; of very many images fewer sets are, which then differ little anyway."""

_MIN_RESAMPLES: Final = 100


def temperature_effect(predictions: Predictions, temperature: float | None) -> TemperatureEffect | None:
    """The effect of a temperature on scored images; None without one.

    Args:
        predictions: Of N images, at least one, with the temperature; in ``before`` those without it.
        temperature: What the logits were divided by.
    """
    if temperature is None:
        return None
    before = predictions.before
    return TemperatureEffect(
        temperature=temperature,
        after=calibration_figures(predictions),
        before=None if before is None else calibration_figures(before),
        bins_before=() if before is None else calibrate(before).bins,
    )


def calibration_figures(predictions: Predictions) -> CalibrationFigures:
    """The expected calibration error with its interval, and the log-loss."""
    loss = float(predictions.losses.mean(dtype=np.float64))
    return CalibrationFigures(
        error=calibrate(predictions).expected_calibration_error or 0.0,
        interval=error_interval(predictions),
        log_loss=loss if math.isfinite(loss) else None,
    )


def error_interval(predictions: Predictions, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> Interval:
    """Interval of the expected calibration error by bootstrap.

    The error is a sum of absolute values, which grows with every difference that chance adds: that of resampled images
    is too large by about as much as that of the images themselves. So the quantiles are moved down by the mean
    difference of both, and end at 0. Source: B. Efron and R. Tibshirani, "An introduction to the bootstrap", 1993,
    chapter 10.

    Args:
        predictions: Of N images, at least one.
        num_resamples: How many sets of N images to sample, each image with replacement.
        seed: The same seed and predictions give the same interval.
    """
    generator, num_images = np.random.default_rng(seed), len(predictions)
    places = calibration_bins(predictions)
    gaps: NDArray[np.float64] = predictions.is_correct - np.nan_to_num(
        predictions.confidence.astype(np.float64), nan=0.0
    )
    num_sets = min(num_resamples, max(_MIN_RESAMPLES, MAX_SAMPLED // num_images))
    errors = np.array([_resampled_error(generator, places, gaps) for _ in range(num_sets)])
    measured = float(np.abs(np.bincount(places, gaps, NUM_BINS)).sum() / num_images)
    tail = (1 - CONFIDENCE_LEVEL) / 2
    low, high = (np.quantile(errors, [tail, 1 - tail]) - (errors.mean() - measured)).clip(0.0, 1.0).tolist()
    return min(low, measured), max(high, measured)


def _resampled_error(generator: np.random.Generator, places: NDArray[np.intp], gaps: NDArray[Any]) -> float:
    chosen = generator.integers(0, len(gaps), len(gaps))
    return float(np.abs(np.bincount(places[chosen], gaps[chosen], NUM_BINS)).sum() / len(gaps))


def describe_effect(effect: TemperatureEffect) -> str:
    """The temperature, and the calibration before and after it, in one line."""
    before = effect.before
    error, loss = _error(effect.after), _loss(effect.after)
    if before is not None:
        error, loss = f"{_error(before)} → {error}", f"{_loss(before)} → {loss}"
    return (
        f"temperature {effect.temperature:.3g}: expected calibration error {error}, log-loss {loss}"
        f" ({CONFIDENCE_LEVEL:.0%} intervals in brackets)"
    )


def _error(figures: CalibrationFigures) -> str:
    low, high = figures.interval
    return f"{figures.error:.2%} ({low:.2%} to {high:.2%})"


def _loss(figures: CalibrationFigures) -> str:
    return "infinite" if figures.log_loss is None else f"{figures.log_loss:.4f}"
