"""Selective classification: the confidence from which on a classifier answers, and below which it abstains."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MIN_ANSWERED = 10
"""Fewer answers say nothing about their precision."""


class Answered(NamedTuple):
    """The images that are answered at a threshold.

    Attributes:
        threshold: The lowest confidence that is answered; 0: all are.
        num_answered: How many of the images are answered.
        num_correct: How many of these are predicted correctly.
        num_images: How many images there are.
    """

    threshold: float
    num_answered: int
    num_correct: int
    num_images: int

    @property
    def coverage(self) -> float:
        """Share of the images that are answered."""
        return self.num_answered / self.num_images

    @property
    def precision(self) -> float | None:
        """Share of the answers that is correct; None where there is no answer."""
        return self.num_correct / self.num_answered if self.num_answered else None


def answered(confidence: NDArray[np.floating[Any]], is_correct: NDArray[np.bool_], threshold: float) -> Answered:
    """What is answered at a threshold.

    Args:
        confidence: Float (N,), the probability of the predicted class; one that is not a number is never answered.
        is_correct: bool (N,).
        threshold: In [0, 1]; compared as float32.
    """
    is_answered = np.nan_to_num(confidence.astype(np.float32), nan=-1.0) >= np.float32(threshold)
    return Answered(threshold, int(is_answered.sum()), int(is_correct[is_answered].sum()), len(confidence))


def threshold_for_precision(
    confidence: NDArray[np.floating[Any]], is_correct: NDArray[np.bool_], target: float
) -> tuple[float | None, Answered]:
    """The threshold at which most images are answered while at least ``target`` of the answers are correct.

    Source: Y. Geifman and R. El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017, whose bound
    is not taken here: the share itself is at least the target on these images, and what it is on others is measured.

    Args:
        confidence: Float (N,), N of at least `MIN_ANSWERED`.
        is_correct: bool (N,).
        target: In (0, 1].

    Returns:
        The threshold, or None where no threshold reaches the target; and the answers there, or those of the best one.
    """
    values, hits, numbers = _by_confidence(confidence, is_correct)
    shares = hits / numbers
    reached = np.flatnonzero(shares >= target - 1e-12)
    place = int(reached[-1]) if len(reached) else int(len(shares) - 1 - shares[::-1].argmax())
    found = _threshold_after(values, int(numbers[place]))
    answers = Answered(found, int(numbers[place]), int(hits[place]), len(values))
    return found if len(reached) else None, answers


def threshold_for_coverage(confidence: NDArray[np.floating[Any]], target: float) -> float:
    """The highest threshold at which at least ``target`` of the images are answered.

    Args:
        confidence: Float (N,), at least one.
        target: In (0, 1].
    """
    values = np.sort(np.nan_to_num(confidence.astype(np.float32), nan=0.0))[::-1]
    number = max(1, math.ceil(target * len(values) - 1e-9))
    while number < len(values) and values[number] == values[number - 1]:
        number += 1  # images of one confidence are answered together
    return _threshold_after(values, number)


def _by_confidence(
    confidence: NDArray[np.floating[Any]], is_correct: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """The confidences, descending, and at each place where one can stop the hits until there, and the answers."""
    confidence = np.nan_to_num(confidence.astype(np.float32), nan=0.0)
    order = np.argsort(-confidence, kind="stable")
    values = confidence[order]
    is_end = np.append(values[:-1] > values[1:], True)
    numbers = np.flatnonzero(is_end).astype(np.int64) + 1
    numbers = numbers[numbers >= min(MIN_ANSWERED, len(values))]
    return values, np.cumsum(is_correct[order], dtype=np.int64)[numbers - 1], numbers


def _threshold_after(values: NDArray[np.float32], number: int) -> float:
    """A float32 that separates the first ``number`` of descending values from the others, in the middle between both.

    So a confidence that another program rounds otherwise is still on its side.
    """
    if number == len(values):
        return 0.0
    low, high = values[number], values[number - 1]
    middle = np.float32((float(low) + float(high)) / 2)
    return float(middle if middle > low else high)
