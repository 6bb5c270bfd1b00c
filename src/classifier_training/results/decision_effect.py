"""What thresholds on the probabilities of a model hold on scored images, and how that is said."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.metrics.conformal import lac_sets
from classifier_training.metrics.intervals import CONFIDENCE_LEVEL, Interval, wilson_intervals
from classifier_training.metrics.scores import Predictions
from classifier_training.metrics.selective import answered
from classifier_training.results.decision_file import AbstentionFigures, DecisionEffect, SetFigures

_ROWS_AT_ONCE = 2**24


def decision_effect(
    predictions: Predictions, abstain_threshold: float | None, set_threshold: float | None
) -> DecisionEffect | None:
    """What both thresholds hold; None without any.

    Args:
        predictions: Of N images, at least one, with the temperature of the model.
        abstain_threshold: The lowest confidence that is answered; None: there is none.
        set_threshold: The lowest probability of a class in a prediction set; None: there are no sets.
    """
    if abstain_threshold is None and set_threshold is None:
        return None
    abstention = sets = None
    if abstain_threshold is not None:
        abstention = abstention_figures(predictions.confidence, predictions.is_correct, abstain_threshold)
    if set_threshold is not None:
        sets = lac_figures(predictions, set_threshold)
    return DecisionEffect(abstention=abstention, sets=sets)


def abstention_figures(
    confidence: NDArray[np.float32], is_correct: NDArray[np.bool_], threshold: float
) -> AbstentionFigures:
    """What a threshold on the confidence holds; arguments as of `metrics.selective.answered`."""
    found = answered(confidence, is_correct, threshold)
    return AbstentionFigures(
        threshold=threshold,
        num_images=found.num_images,
        num_answered=found.num_answered,
        coverage=found.coverage,
        coverage_interval=_interval(found.num_answered, found.num_images),
        precision=found.precision,
        precision_interval=_interval(found.num_correct, found.num_answered) if found.num_answered else None,
    )


def lac_figures(predictions: Predictions, threshold: float) -> SetFigures:
    """What LAC sets hold; their sizes are known where all probabilities are."""
    probabilities, num_images = predictions.probabilities, len(predictions)
    if probabilities is None:
        is_in = np.exp(-predictions.losses.astype(np.float64)).astype(np.float32) >= np.float32(threshold)
        return _figures("lac", threshold, is_in, None)
    rows_at_once = max(1, _ROWS_AT_ONCE // probabilities.shape[1])
    is_in, sizes = np.zeros(num_images, bool), np.zeros(num_images, np.int64)
    for start in range(0, num_images, rows_at_once):
        rows = slice(start, start + rows_at_once)
        sets = lac_sets(probabilities[rows], threshold)
        is_in[rows], sizes[rows] = _of_sets(sets, predictions.labels[rows])
    return _figures("lac", threshold, is_in, sizes)


def set_figures(method: str, threshold: float, sets: NDArray[np.bool_], labels: NDArray[np.int64]) -> SetFigures:
    """What sets, bool (N, K), hold for images of true classes, int64 (N,)."""
    return _figures(method, threshold, *_of_sets(sets, labels))


def _of_sets(sets: NDArray[np.bool_], labels: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    return sets[np.arange(len(labels)), labels], sets.sum(axis=1)


def _figures(method: str, threshold: float, is_in: NDArray[np.bool_], sizes: NDArray[np.int64] | None) -> SetFigures:
    num_images, num_in = len(is_in), int(is_in.sum())
    return SetFigures(
        method=method,
        threshold=threshold,
        num_images=num_images,
        coverage=num_in / num_images,
        coverage_interval=_interval(num_in, num_images),
        mean_size=None if sizes is None else float(sizes.mean()),
        empty=None if sizes is None else float((sizes == 0).mean()),
        single=None if sizes is None else float((sizes == 1).mean()),
    )


def _interval(hits: int, total: int) -> Interval:
    low, high = wilson_intervals(np.array([hits]), np.array([total]))[0].tolist()
    return low, high


DECISION_SCORES: Final = ("coverage", "precision", "set_coverage")
"""What can be measured of thresholds, by the names that `evaluate` prints."""


def decision_scores(effect: DecisionEffect | None) -> dict[str, tuple[float, Interval | None]]:
    """Those of `DECISION_SCORES` that are known, with their intervals."""
    scores = dict[str, tuple[float, Interval | None]]()
    abstention, sets = (None, None) if effect is None else (effect.abstention, effect.sets)
    if abstention is not None:
        scores["coverage"] = abstention.coverage, abstention.coverage_interval
        if abstention.precision is not None:
            scores["precision"] = abstention.precision, abstention.precision_interval
    if sets is not None:
        scores["set_coverage"] = sets.coverage, sets.coverage_interval
    return scores


def describe_decision(effect: DecisionEffect) -> list[str]:
    """What the thresholds hold, a sentence each."""
    sentences = list[str]()
    if effect.abstention is not None:
        sentences.append(describe_abstention(effect.abstention))
    if effect.sets is not None:
        sentences.append(describe_sets(effect.sets))
    return sentences


def describe_abstention(figures: AbstentionFigures) -> str:
    """Coverage and precision with their intervals."""
    start = f"answering from a confidence of {figures.threshold:.4g} on"
    coverage = f"coverage {_share(figures.coverage, figures.coverage_interval)}"
    if figures.precision is None or figures.precision_interval is None:
        return f"{start}: {coverage}, so there is no precision"
    precision = f"precision {_share(figures.precision, figures.precision_interval)}"
    return (
        f"{start}: {coverage}, {precision}, {figures.num_answered} of {figures.num_images} images answered"
        f" ({CONFIDENCE_LEVEL:.0%} intervals in brackets)"
    )


def describe_sets(figures: SetFigures) -> str:
    """How often sets hold the true class, and how large they are."""
    text = f"prediction sets hold the true class of {_share(figures.coverage, figures.coverage_interval)}"
    if figures.mean_size is None or figures.empty is None or figures.single is None:
        return text
    return f"{text}; mean size {figures.mean_size:.2f}, {figures.single:.0%} of one class, {figures.empty:.0%} empty"


def _share(value: float, interval: Interval) -> str:
    return f"{value:.2%} ({interval[0]:.2%} to {interval[1]:.2%})"
