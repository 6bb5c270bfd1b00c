"""Conformal prediction sets: the classes among which the true one is, in a stated share of the cases.

The promise is for images of the kind of those that the threshold was fitted to, and over all of them together: not of
each class, and not of images of another kind.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.metrics.intervals import CONFIDENCE_LEVEL, Interval

RAPS_WEIGHT: Final = 0.1
"""What RAPS adds for each class of a set beyond the first `RAPS_FREE`. Fixed, as the promise needs, not fitted."""
RAPS_FREE: Final = 1


def conformal_rank(num_images: int, coverage: float) -> int | None:
    """Which of N sorted scores is the threshold for a coverage, ceil((N + 1) coverage) from 1; None: N is too few.

    Source: V. Vovk, A. Gammerman and G. Shafer, "Algorithmic learning in a random world", 2005.
    """
    rank = math.ceil((num_images + 1) * coverage - 1e-9)
    return rank if rank <= num_images else None


def fewest_images(coverage: float) -> int:
    """The fewest images that allow a coverage, below 1."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def coverage_interval(num_images: int, coverage: float) -> Interval:
    """The coverage of sets of such a threshold is itself random, as the N images are: the interval of 95 %.

    It follows a beta distribution of (rank, N + 1 - rank). Source: V. Vovk, "Conditional validity of inductive
    conformal predictors", ACML 2012.

    Args:
        num_images: N, enough for the coverage.
        coverage: Below 1.
    """
    from scipy.special import betaincinv  # here, as what deploys a model has no scipy

    rank, tail = conformal_rank(num_images, coverage), (1 - CONFIDENCE_LEVEL) / 2
    assert rank is not None  # noqa: S101 - as of the arguments
    low, high = (float(betaincinv(rank, num_images + 1 - rank, share)) for share in (tail, 1 - tail))
    return low, high


def lac_threshold(true_probabilities: NDArray[np.floating[Any]], coverage: float) -> float | None:
    """The probability from which on a class belongs to the set (LAC: least ambiguous set-valued classifier).

    The score of an image is 1 minus the probability of its true class. Source: M. Sadinle, J. Lei and L. Wasserman,
    "Least ambiguous set-valued classifiers with bounded error levels", JASA 114 (2019).

    Args:
        true_probabilities: Float (N,), of the true class, of images that the model was not trained on.
        coverage: Below 1.

    Returns:
        A float32 value; None where N is too few.
    """
    rank = conformal_rank(len(true_probabilities), coverage)
    return None if rank is None else float(np.sort(true_probabilities.astype(np.float32))[-rank])


def lac_sets(probabilities: NDArray[np.floating[Any]], threshold: float) -> NDArray[np.bool_]:
    """The sets of N images: bool (N, K) from probabilities, float (N, K), compared as float32."""
    return probabilities.astype(np.float32) >= np.float32(threshold)


def raps_scores(
    probabilities: NDArray[np.floating[Any]],
    random_parts: NDArray[np.float64] | None = None,
    weight: float = RAPS_WEIGHT,
    num_free: int = RAPS_FREE,
) -> NDArray[np.float64]:
    """The score of each class for RAPS: the probability of all that are as probable, plus a price of its rank.

    Without the random parts sets are larger than stated. Source: A. Angelopoulos et al., "Uncertainty sets for image
    classifiers using conformal prediction", ICLR 2021.

    Args:
        probabilities: Float (N, K).
        random_parts: float64 (N,), uniform in [0, 1): such a part of its own probability is taken off each class;
            None: nothing is.
        weight: The price of each rank beyond the free ones.
        num_free: So many ranks are free.

    Returns:
        float64 (N, K).
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ordered = np.take_along_axis(probabilities, order, axis=1)
    sums = np.cumsum(ordered, axis=1, dtype=np.float64)
    if random_parts is not None:
        sums -= random_parts[:, None] * ordered
    sums += weight * np.maximum(0, np.arange(1, sums.shape[1] + 1) - num_free)
    scores = np.empty_like(sums)
    np.put_along_axis(scores, order, sums, axis=1)
    return scores


def raps_threshold(
    scores: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], coverage: float
) -> float | None:
    """The highest score in a set, from scores (N, K) and true classes (N,); None where N is too few."""
    rank = conformal_rank(len(labels), coverage)
    of_truth = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    return None if rank is None else float(np.sort(of_truth)[rank - 1])


def raps_sets(
    scores: NDArray[np.floating[Any]], threshold: float, most_probable: NDArray[np.integer[Any]]
) -> NDArray[np.bool_]:
    """The sets of N images, bool (N, K), from scores (N, K); the most probable classes (N,) are in them anyway."""
    sets = scores <= threshold
    sets[np.arange(len(scores)), most_probable] = True
    return sets
