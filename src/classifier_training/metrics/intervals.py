"""How far a score may be from that of all images of its kind: intervals of 95 % confidence."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.metrics.confusion import Confusion, as_confusion
from classifier_training.metrics.score_names import SCORE_TITLES
from classifier_training.metrics.scores import Scores

CONFIDENCE_LEVEL: Final = 0.95
NUM_RESAMPLES: Final = 1_000
_MAX_VALUES: Final = 2**19
"""Numbers that the bootstrap holds at once in each of its arrays, 4 MiB."""

Interval = tuple[float, float]
"""Lower and upper end, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class ScoreIntervals:
    """The intervals of the scores of one pass.

    Attributes:
        top1: Wilson's.
        top5: Wilson's.
        balanced_accuracy: By bootstrap; None where it was not computed, and where all predictions or none are correct.
        macro_f1: The same.
    """

    top1: Interval
    top5: Interval
    balanced_accuracy: Interval | None = None
    macro_f1: Interval | None = None

    def by_name(self) -> dict[str, Interval | None]:
        """The intervals by the names in `SCORE_TITLES`."""
        return {name: getattr(self, name) for name in SCORE_TITLES}

    def to_dict(self) -> dict[str, list[float] | None]:
        """Plain values for JSON."""
        return {name: None if interval is None else list(interval) for name, interval in self.by_name().items()}


def score_intervals(scores: Scores, *, bootstrap: bool = True) -> ScoreIntervals:
    """The intervals of all scores.

    Args:
        scores: What was measured.
        bootstrap: Whether to resample, which takes up to a second for 50,000 images of 1,000 classes.
    """
    num_images = scores.num_images
    top1, top5 = wilson_intervals(
        np.array([scores.cells.hits.sum(), round(scores.top5 * num_images)]), np.array([num_images, num_images])
    )
    resampled = bootstrap_intervals(scores.cells) if bootstrap else (None, None)
    # without errors, or with nothing else, every resampled set is the same: that tells nothing about other images
    known = (None if ends is None or ends[0] == ends[1] else ends for ends in resampled)
    return ScoreIntervals((float(top1[0]), float(top1[1])), (float(top5[0]), float(top5[1])), *known)


def wilson_intervals(hits: NDArray[np.integer[Any]], totals: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Wilson's score intervals of shares, which also hold for few images and for shares of 0 and 1.

    With p = hits / n and z the normal quantile: (p + z² / 2n ± z √(p (1 - p) / n + z² / 4n²)) / (1 + z² / n). Source:
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927). scipy's
    ``binomtest`` gives the same, one at a time and with a test that is not needed.

    Args:
        hits: Integer (M,), in [0, totals].
        totals: Integer (M,).

    Returns:
        float64 (M, 2), lower and upper ends; NaN where the total is 0.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE_LEVEL) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares, shrink = hits / totals, z**2 / totals
        middle = (shares + shrink / 2) / (1 + shrink)
        half = np.sqrt(shares * (1 - shares) * shrink + shrink**2 / 4) / (1 + shrink)
    lower, upper = np.where(hits == 0, 0.0, middle - half), np.where(hits == totals, 1.0, middle + half)
    return np.where((totals > 0)[:, None], np.stack([lower, upper], axis=1), np.nan)


def bootstrap_intervals(
    confusion: Confusion | NDArray[np.integer[Any]], num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> tuple[Interval, Interval]:
    """Percentile intervals of balanced accuracy and macro F1 over resampled sets of images.

    A resampled set has as many images, each sampled with replacement. Its counts are a multinomial sample over the
    cells of the matrix: the correct ones of each class and the number of errors first, then every error. Source:
    B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979). A matrix without
    errors stays without errors, so its intervals end where they begin.

    Args:
        confusion: The cells, or all of them, integer (K, K), rows are the true class; not empty.
        num_resamples: How many sets to sample.
        seed: The same seed and matrix give the same intervals.

    Returns:
        The interval of balanced accuracy, and that of macro F1.
    """
    cells = as_confusion(confusion)
    errors = cells.errors()
    labels, predicted = (np.repeat(part, errors.counts) for part in (errors.labels, errors.predicted))
    generator = np.random.default_rng(seed)
    at_once = min(num_resamples, max(1, _MAX_VALUES // (cells.num_classes + len(labels))))
    scores: list[NDArray[np.float64]] = []
    for start in range(0, num_resamples, at_once):
        count = min(at_once, num_resamples - start)
        scores.append(_resampled_scores(generator, cells.hits, labels, predicted, count))
    tail = (1 - CONFIDENCE_LEVEL) / 2
    lower, upper = np.quantile(np.concatenate(scores, axis=1), [tail, 1 - tail], axis=1).tolist()
    return (lower[0], upper[0]), (lower[1], upper[1])


def _resampled_scores(
    generator: np.random.Generator,
    hits: NDArray[np.integer[Any]],
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    count: int,
) -> NDArray[np.float64]:
    """Balanced accuracy and macro F1, float64 (2, R), of R resampled sets.

    Given are the number of correct predictions of each class, (K,), and the true and predicted class of E errors, (E,).
    """
    num_classes, num_images = len(hits), int(hits.sum()) + len(labels)
    sampled = generator.multinomial(num_images, np.append(hits, len(labels)) / num_images, size=count)
    correct, num_errors = sampled[:, :-1], sampled[:, -1]
    which = generator.integers(0, max(1, len(labels)), int(num_errors.sum()))
    first_cell = np.repeat(np.arange(count) * num_classes, num_errors)
    missed, mistaken = (
        np.bincount(first_cell + part[which], minlength=count * num_classes).reshape(count, num_classes)
        for part in (labels, predicted)
    )
    support, occurring = correct + missed, 2 * correct + missed + mistaken
    recall = np.divide(correct, support, out=np.zeros(correct.shape), where=support > 0)
    f1 = np.divide(2 * correct, occurring, out=np.zeros(correct.shape), where=occurring > 0)
    return np.stack([recall.sum(axis=1) / (support > 0).sum(axis=1), f1.sum(axis=1) / (occurring > 0).sum(axis=1)])
