from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from classifier_training.metrics.selective import (
    MIN_ANSWERED,
    answered,
    threshold_for_coverage,
    threshold_for_precision,
)


def sampled(num_images: int = 400, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Confidences, rounded so that some are equal, and predictions that are correct as often as they say."""
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0.3, 1, num_images).round(2).astype(np.float32)
    return confidence, generator.random(num_images) < confidence


@pytest.mark.parametrize("target", [0.7, 0.8, 0.9])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_target_precision_answers_as_many_images_as_any_threshold_that_holds_it(target: float, seed: int) -> None:
    confidence, is_correct = sampled(seed=seed)

    threshold, answers = threshold_for_precision(confidence, is_correct, target)

    assert threshold is not None
    assert answers == answered(confidence, is_correct, threshold)
    assert answers.precision is not None
    assert answers.precision >= target
    every = [answered(confidence, is_correct, float(one)) for one in np.unique(confidence)]
    assert answers.coverage == max(one.coverage for one in every if (one.precision or 0) >= target)
    assert float(np.float32(threshold)) == threshold
    assert not np.isclose(confidence, threshold, atol=1e-3).any()  # no image is at the edge


def test_where_all_images_together_hold_the_target_none_is_abstained_from() -> None:
    confidence, is_correct = sampled()

    threshold, answers = threshold_for_precision(confidence, is_correct, 0.4)

    assert (threshold, answers.coverage) == (0.0, 1.0)


def test_a_target_out_of_reach_has_no_threshold_but_the_best_one_is_known() -> None:
    confidence = np.linspace(0.5, 1, 40, dtype=np.float32)
    is_correct = np.arange(40) % 4 > 0

    threshold, best = threshold_for_precision(confidence, is_correct, 0.99)

    assert threshold is None
    assert best.precision == max(
        (one.precision or 0)
        for one in (answered(confidence, is_correct, float(value)) for value in confidence)
        if one.num_answered >= MIN_ANSWERED
    )


def test_a_few_lucky_answers_are_not_taken_for_a_precision() -> None:
    confidence = np.linspace(1, 0.5, 40, dtype=np.float32)
    is_correct = np.arange(40) < MIN_ANSWERED - 1

    assert threshold_for_precision(confidence, is_correct, 0.95)[0] is None
    is_correct[MIN_ANSWERED - 1] = True
    assert threshold_for_precision(confidence, is_correct, 0.95)[0] is not None


@pytest.mark.parametrize("target", [0.01, 0.5, 0.9, 1.0])
def test_a_target_coverage_is_reached_by_the_highest_threshold(target: float) -> None:
    confidence, is_correct = sampled()

    threshold = threshold_for_coverage(confidence, target)

    found = answered(confidence, is_correct, threshold)
    assert found.coverage >= target
    higher = confidence[confidence >= threshold].min()
    assert answered(confidence, is_correct, float(np.nextafter(higher, np.float32(2)))).coverage < target


def test_images_of_one_confidence_are_answered_together() -> None:
    confidence = np.array([0.9, 0.5, 0.5, 0.5, 0.1], np.float32)

    assert answered(confidence, np.ones(5, bool), threshold_for_coverage(confidence, 0.4)).num_answered == 4


def test_a_confidence_that_is_not_a_number_is_never_answered() -> None:
    confidence = np.array([np.nan, 0.5], np.float32)

    assert answered(confidence, np.array([True, False]), 0.0).num_answered == 1
    assert answered(confidence, np.array([True, False]), 0.6).precision is None


def test_neighbours_without_a_number_between_them_are_still_separated() -> None:
    high = np.float32(0.75)
    low = np.nextafter(high, np.float32(0))

    threshold = threshold_for_coverage(np.array([high, low], np.float32), 0.5)

    assert threshold == high
