from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from classifier_training.training.batch_trial import (
    FEWEST,
    fewest_that_are_fast,
    most_that_fit,
    throughput_by_size,
)


def no_progress(done: int, total: int) -> None:
    assert 0 < done <= total


def rates_with(seconds_of: Callable[[int], float], most: int = 128, seconds: float = 1e9) -> dict[int, float]:
    return throughput_by_size(seconds_of, most, seconds, no_progress)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({8: 40.0, 16: 50.0, 32: 56.0, 64: 57.0}, 32),
        ({8: 40.0, 16: 38.0}, 8),
        ({8: 57.0, 16: 60.0, 32: 59.0}, 8),
        ({8: 1.0, 16: 2.0, 32: 4.0}, 32),
        ({8: 1.0}, 8),
    ],
)
def test_the_fewest_images_with_about_the_best_throughput_are_taken(rates: dict[int, float], expected: int) -> None:
    assert fewest_that_are_fast(rates) == expected


def test_sizes_are_doubled_as_long_as_that_is_faster() -> None:
    assert rates_with(lambda size: 0.1 + 0.01 * size, most=50) == {
        8: pytest.approx(8 / 0.18),
        16: pytest.approx(16 / 0.26),
        32: pytest.approx(32 / 0.42),
    }
    assert list(rates_with(lambda size: size**1.5)) == [8, 16]
    assert list(rates_with(lambda _: 1.0, seconds=0.0)) == [8]


def test_where_memory_runs_out_the_sizes_before_count() -> None:
    def seconds_of(size: int) -> float:
        if size > 16:
            raise MemoryError
        return 1.0

    assert list(rates_with(seconds_of)) == [8, 16]
    assert rates_with(lambda size: seconds_of(100 * size)) == {}
    with pytest.raises(ZeroDivisionError):
        rates_with(lambda _: 1 / 0)


@pytest.mark.parametrize("limit", [8, 9, 15, 16, 17, 100, 127, 128, 1000, 4321, 10**6])
@pytest.mark.parametrize("most", [8, 12, 38, 128, 5000])
def test_the_largest_batch_that_fits_is_found_within_an_eighth(limit: int, most: int) -> None:
    tried: list[int] = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= limit

    found = most_that_fit(fits, most, math.inf)

    best = min(limit, most) // FEWEST * FEWEST
    assert found % FEWEST == 0
    assert best - max(FEWEST, best / 8) < found <= best
    assert all(size <= most for size in tried)
    assert len(tried) == len(set(tried)) <= 20


def test_a_search_for_which_there_is_no_time_takes_the_smallest() -> None:
    assert most_that_fit(lambda _: True, 1000, 0.0) == FEWEST
