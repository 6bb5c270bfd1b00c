from __future__ import annotations

import math
from pathlib import Path

import pytest

from classifier_training.run.lr_range import (
    HIGHEST,
    LOWEST,
    NUM_STEPS,
    RangeTest,
    read_range_test,
    smooth,
    write_range_test,
)
from classifier_training.run.records import DamagedFileError

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


def test_the_end_of_a_test_is_told() -> None:
    assert make_test([2.0] * NUM_STEPS).end == "it went up to 1"
    assert make_test([2.0, 1.0, *[9.0] * 8]).end.startswith("it ended at 3.5e-06, where the loss was 3 times")
    assert make_test([2.0] * 9).end == "it ended after 3.1e-06, as the loss was no finite number any more"
    assert make_test([]).end == "it ended at its first step, as the loss was no finite number any more"


@pytest.mark.parametrize("losses", [[2.0, 1.5, 1.25], []])
def test_the_file_holds_the_test(tmp_path: Path, losses: list[float]) -> None:
    write_range_test(tmp_path / "lr_range.csv", make_test(losses))
    assert read_range_test(tmp_path / "lr_range.csv") == make_test(losses)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("lr,loss\n1,2\n", "has not the columns lr, loss, smoothed"),
        ("lr,loss,smoothed\n1,2,a\n", "contains values that are not numbers"),
        ("lr,loss,smoothed\n1,2,nan\n", "not finite"),
        ("lr,loss,smoothed\n1,2,2\n1,2,2\n", "rates that do not rise"),
        ("lr,loss,smoothed\n-1,2,2\n", "rates that do not rise"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: str, fault: str) -> None:
    (tmp_path / "lr_range.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DamagedFileError, match=fault):
        read_range_test(tmp_path / "lr_range.csv")
