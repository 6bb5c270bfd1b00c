from __future__ import annotations

from math import comb

import numpy as np
import pytest

from classifier_training.metrics.paired import compare_paired


def exact_p(only_first: int, only_second: int) -> float:
    """Two-sided tail of fair coins."""
    total = only_first + only_second
    tail = sum(comb(total, k) for k in range(min(only_first, only_second) + 1)) / 2**total
    return float(min(1.0, 2 * tail))


@pytest.mark.parametrize("counts", [(0, 0), (1, 0), (0, 6), (3, 3), (5, 12), (12, 5), (40, 70)])
def test_the_exact_test_by_hand(counts: tuple[int, int]) -> None:
    only_first, only_second = counts
    first = np.array([True] * only_first + [False] * only_second + [True, False])
    second = np.array([False] * only_first + [True] * only_second + [True, False])

    found = compare_paired(first, second)

    assert (found.num_only_first, found.num_only_second) == counts
    assert found.num_images == only_first + only_second + 2
    assert found.p_value == pytest.approx(exact_p(*counts))


def test_what_is_not_of_the_same_images() -> None:
    with pytest.raises(ValueError, match="same images"):
        compare_paired(np.zeros(2, bool), np.zeros(3, bool))
