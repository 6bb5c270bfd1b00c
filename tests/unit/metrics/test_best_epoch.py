from __future__ import annotations

import math

import pytest

from classifier_training.metrics.best_epoch import EpochScore, Mode, find_best, is_better


@pytest.mark.parametrize(
    ("epoch", "best", "mode", "expected"),
    [
        (EpochScore(0.1), None, "max", True),
        (EpochScore(0.2), EpochScore(0.1), "max", True),
        (EpochScore(0.2), EpochScore(0.1), "min", False),
        (EpochScore(0.1, 0.5), EpochScore(0.1, 0.6), "max", True),
        (EpochScore(0.1, 0.6), EpochScore(0.1, 0.6), "max", False),
        (EpochScore(0.1, 0.6), EpochScore(0.1), "max", True),
        (EpochScore(0.1), EpochScore(0.1, 0.6), "max", False),
        (EpochScore(0.1), EpochScore(math.nan), "min", True),
        (EpochScore(math.nan), EpochScore(0.1), "min", False),
        (EpochScore(math.nan), None, "max", False),
        (EpochScore(math.inf), None, "max", False),
        (EpochScore(-math.inf), EpochScore(0.1), "min", False),
    ],
)
def test_the_metric_decides_and_of_equal_ones_the_loss(
    epoch: EpochScore, best: EpochScore | None, mode: Mode, *, expected: bool
) -> None:
    assert is_better(epoch, best, mode) is expected


def test_the_best_of_a_training_is_better_than_all_before_and_beaten_by_none_after() -> None:
    scores, losses = [None, 0.5, 0.25, math.nan, 0.5, 0.5], [0.1, 0.9, 0.1, 0.1, 0.7, 0.7]

    assert find_best(scores, losses, "max") == 4
    assert find_best(scores, losses, "min") == 2
    assert find_best(scores, [None] * 6, "max") == 1
    assert find_best(scores, [math.nan] * 6, "max") == 1


@pytest.mark.parametrize("scores", [[], [None], [math.nan, None]])
def test_without_a_score_there_is_no_best_epoch(scores: list[float | None]) -> None:
    assert find_best(scores, [0.5] * len(scores), "max") is None
