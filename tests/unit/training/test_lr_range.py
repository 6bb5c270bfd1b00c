from __future__ import annotations

import math

import pytest

from classifier_training.training.lr_range import HIGHEST, LOWEST, NUM_STEPS, RangeTest, smooth

RATES = tuple(LOWEST * (HIGHEST / LOWEST) ** (number / (NUM_STEPS - 1)) for number in range(NUM_STEPS))


def make_test(losses: list[float]) -> RangeTest:
    return RangeTest(RATES[: len(losses)], tuple(losses), smooth(losses))


def test_the_rate_is_a_tenth_of_that_of_the_lowest_smoothed_loss() -> None:
    test = make_test([2.0 + math.log10(rate / 1e-2) ** 2 / 10 for rate in RATES])
    lowest = test.rates[test.smoothed.index(min(test.smoothed))]
    assert 1e-2 < lowest < 5e-2, "the average comes after what it averages"
    assert test.suggestion == pytest.approx(lowest / 10, rel=0.05)


@pytest.mark.parametrize("losses", [[2.0] * NUM_STEPS, [2.0 + number for number in range(20)], [], [2.0, 1.999, 9.0]])
def test_a_curve_that_does_not_fall_suggests_nothing(losses: list[float]) -> None:
    assert make_test(losses).suggestion is None


def test_the_average_begins_without_bias() -> None:
    assert smooth([3.0, 3.0, 3.0]) == pytest.approx((3.0, 3.0, 3.0))
    assert smooth([1.0, 2.0]) == pytest.approx((1.0, (0.9 * 0.1 + 0.2) / 0.19))
