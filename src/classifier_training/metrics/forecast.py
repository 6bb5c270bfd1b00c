"""Forecast of the accuracy that a training will have at its end, from its learning curve so far.

On the scale of log-odds the best accuracy so far rises by an amount that depends on the share of the training that is
left, on how steeply the curve has been rising, and on how high it is. Where a linear probe of the same weights is
known, the rise is counted from the better of the two, and depends on the share that is left alone: fine-tuning ends a
usual amount above its probe, however low its first epochs are. The dependence is fitted to stored curves by least
squares, for trainings with a probe and without one apart, and so is the spread around it. The interval comes from the
normalised errors for curves that the fit has not seen (split by kind of run), whose quantile covers a stated share of
them (Papadopoulos et al. 2002, "Inductive confidence machines for regression").
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

COVERAGE: Final = 0.9
"""Share of the trainings that end within the interval of a forecast."""
_CAUTIOUS_COVERAGE: Final = 0.94  # of the stored curves: a new kind of training differs from them more
_RIDGE: Final = 0.2
_MIN_SPREAD: Final = 0.03  # log-odds


class Forecast(NamedTuple):
    """An accuracy at the end of a training, in [0, 1], with its interval.

    Attributes:
        value: The middle.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """As people read it."""
        return f"about {self.value:.0%} ({self.low:.0%} to {self.high:.0%})"


@dataclass(frozen=True, slots=True)
class Curve:
    """Validation accuracies of a training.

    Attributes:
        top1: Top-1 after each epoch so far, in [0, 1].
        epochs: Epochs of the whole training, which need not be a whole number.
        val_images: Images that it was measured on.
        probe: Top-1 of a linear classifier on the features of the same weights; None: not known.
        kind: Runs of one kind are alike.
    """

    top1: tuple[float, ...]
    epochs: float
    val_images: int
    probe: float | None = None
    kind: str = ""

    @property
    def final(self) -> float:
        """The best accuracy."""
        return max(self.top1)

    def until(self, epoch: int) -> Curve:
        """The curve as it was after so many epochs."""
        return Curve(self.top1[:epoch], self.epochs, self.val_images, self.probe, self.kind)


def forecast(curve: Curve) -> Forecast | None:
    """What a training will reach; None: nothing is known of it yet.

    Args:
        curve: As far as it is known; without an epoch, of the probe alone.
    """
    if not curve.top1 and curve.probe is None:
        return None
    return _stored_model().forecast(curve)


@functools.cache
def stored_curves() -> tuple[Curve, ...]:
    """The curves of finished trainings that come with the package."""
    text = files("classifier_training.metrics").joinpath("learning_curves.json").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = json.loads(text)
    return tuple(
        Curve(tuple(row["top1"]), len(row["top1"]), row["val_images"], row["probe"], row["kind"]) for row in rows
    )


@functools.cache
def _stored_model() -> ForecastModel:
    return ForecastModel(stored_curves())


class ForecastModel:
    """Forecasts by what other trainings did.

    Args:
        curves: Of finished trainings, those with a probe of at least two kinds, and so those without one.
    """

    def __init__(self, curves: Sequence[Curve]) -> None:
        self._fits = {
            has_probe: _Fit.of([curve for curve in curves if (curve.probe is not None) == has_probe])
            for has_probe in {curve.probe is not None for curve in curves}
        }

    def forecast(self, curve: Curve) -> Forecast:
        """What a training will reach, at least what it has reached."""
        row, fit = _row(curve), self._fits[curve.probe is not None]
        middle = row.start + max(0.0, float(row.rise_features @ fit.rise))
        half = fit.width * _spread_of(row, fit.spread)
        best = max(curve.top1, default=0.0)
        reached = best if curve.top1 or curve.probe is None else curve.probe  # which a few images do not make certain
        low, value, high = (_share(middle + shift * half) for shift in (-1.0, 0.0, 1.0))
        return Forecast(max(reached, value), max(best, low), max(reached, high))


@dataclass(frozen=True, slots=True)
class _Fit:
    """Coefficients of the rise and of its spread, and how many of these spreads an interval has to each side."""

    rise: NDArray[np.float64]
    spread: NDArray[np.float64]
    width: float

    @classmethod
    def of(cls, curves: Sequence[Curve]) -> Self:
        kinds = sorted({curve.kind for curve in curves})
        rows = {kind: _rows([curve for curve in curves if curve.kind == kind]) for kind in kinds}
        errors: list[tuple[float, float]] = []
        for kind in kinds:
            rise, spread = _fit([row for other in kinds if other != kind for row in rows[other]])
            errors += [(abs(_error(row, rise)) / _spread_of(row, spread), row.weight) for row in rows[kind]]
        return cls(*_fit([row for kind in kinds for row in rows[kind]]), _quantile(errors, _CAUTIOUS_COVERAGE))


class _Row(NamedTuple):
    """One forecast of a training."""

    start: float  # log-odds of the best accuracy so far
    rise_features: NDArray[np.float64]
    spread_features: NDArray[np.float64]
    rise: float  # log-odds to come; NaN where they are not known
    weight: float


def _rows(curves: Sequence[Curve]) -> list[_Row]:
    """All forecasts of finished trainings, each training of one weight."""
    rows = []
    for curve in curves:
        first = 0 if curve.probe is not None else 1
        known = [_row(curve.until(epoch)) for epoch in range(first, len(curve.top1))]
        final = _odds(curve.final, curve.val_images)
        rows += [row._replace(rise=final - row.start, weight=1 / len(known)) for row in known]
    return rows


def _row(curve: Curve) -> _Row:
    done = len(curve.top1)
    left = max(0.0, 1.0 - done / max(curve.epochs, done, 1e-9))
    odds = [_odds(best, curve.val_images) for best in np.maximum.accumulate(curve.top1)] if done else []
    if curve.probe is not None:
        start = max([_odds(curve.probe, curve.val_images), *odds[-1:]])
        return _Row(start, np.array([left]), np.array([math.sqrt(left) * _noise(start, curve), left]), math.nan, 1.0)
    slope = (odds[-1] - odds[-1 - min(2, done - 1)]) / min(2, done - 1) * min(done, 4) if done > 1 else 0.0
    start, is_first = odds[-1], float(done == 1)
    rise = [left, left * slope, left * start, left * is_first]
    spread = [_noise(start, curve) * math.sqrt(left), left, left * abs(slope), left * is_first]
    return _Row(start, np.array(rise), np.array(spread), math.nan, 1.0)


def _noise(odds: float, curve: Curve) -> float:
    """Standard error of measured log-odds."""
    share = _share(odds)
    return 1 / math.sqrt(curve.val_images * share * (1 - share))


def _fit(rows: Sequence[_Row]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients of the rise and of its spread."""
    weights = np.sqrt([row.weight for row in rows])[:, None]
    features = np.array([row.rise_features for row in rows])
    rise = _ridge(features * weights, np.array([[row.rise] for row in rows]) * weights)
    errors = np.abs(np.array([row.rise for row in rows]) - features @ rise)[:, None]
    spread = _ridge(np.array([row.spread_features for row in rows]) * weights, errors * weights)
    return rise, np.maximum(spread, 0.0)


def _ridge(features: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    size = features.shape[1]
    solved = np.linalg.solve(features.T @ features + _RIDGE * np.eye(size), features.T @ targets)
    return np.asarray(solved[:, 0], np.float64)


def _error(row: _Row, rise: NDArray[np.float64]) -> float:
    return row.rise - max(0.0, float(row.rise_features @ rise))


def _spread_of(row: _Row, spread: NDArray[np.float64]) -> float:
    return max(_MIN_SPREAD, float(row.spread_features @ spread))


def _quantile(errors: list[tuple[float, float]], share: float) -> float:
    """The weighted quantile of errors, each with its weight."""
    errors = sorted(errors)
    cumulated = np.cumsum([weight for _, weight in errors])
    position = int(np.searchsorted(cumulated, share * cumulated[-1]))
    return errors[min(position, len(errors) - 1)][0]


def _odds(share: float, num_images: int) -> float:
    """Log-odds of a measured share, which is not certain even where all images were right."""
    least = 0.5 / num_images
    share = min(1 - least, max(least, share))
    return math.log(share / (1 - share))


def _share(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))
