"""How much of its limit a training uses: simulated by a clock, in the order in which a training asks its budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

import pytest
from tests.helpers.clock import Clock

from classifier_training.callbacks.time_limit import BATCHES_OF_PACE
from classifier_training.run.time_budget import Costs, TimeBudget

TRUE = Costs(step=1.0, num_batches=23, validation=4.0, final_passes=4.0, final_seconds=8.0)


@dataclass
class Simulation:
    """What came of a training.

    Attributes:
        spent: Seconds in the end.
        progress: Of the schedule at the last batch.
        num_epochs: That were begun.
    """

    spent: float
    progress: float
    num_epochs: int


def simulate(limit: float, estimate: Costs, true: Costs, speed: Callable[[float], float] = lambda _: 1.0) -> Simulation:
    """Trains by a clock; ``speed`` says how often as long things take at a time."""
    clock = Clock()
    budget = TimeBudget(limit, 0.0, clock, estimate)
    clock.seconds = 10.0  # the start of the command
    budget.begin()

    def take(seconds: float) -> None:
        clock.seconds += seconds * speed(clock.seconds)

    progress = 0.0
    while not budget.is_over:
        budget.aim()
        epoch, starts = budget.epoch, [clock.seconds]
        for batch in range(true.num_batches):
            if batch >= BATCHES_OF_PACE:
                budget.note_pace(median(later - earlier for earlier, later in pairwise(starts[-BATCHES_OF_PACE - 1 :])))
            progress = budget.progress()
            take(true.step_in(epoch))
            starts.append(clock.seconds)
            if not budget.has_time_for(2):
                budget.is_over = True
                break
        step = (clock.seconds - starts[0]) / (batch + 1)
        before = clock.seconds
        take(true.validation)
        budget.note_epoch(step, clock.seconds - before)
        budget.is_over = budget.is_over or not budget.has_time_for_epoch
    take(true.reserve)
    return Simulation(clock.seconds, progress, budget.epoch)


def times(factor: float, costs: Costs = TRUE) -> Costs:
    """An estimate that is wrong by a factor."""
    return replace(costs, step=factor * costs.step, validation=factor * costs.validation)


@pytest.mark.parametrize(
    ("limit", "factor"),
    [(60.0, 1.0), (100.0, 0.8), (100.0, 1.0), (100.0, 2.0)]
    + [(limit, factor) for limit in (180.0, 600.0) for factor in (0.5, 1.0, 2.0)],
)
def test_nine_tenths_of_the_limit_are_used_and_not_more_than_it_however_wrong_the_estimate(
    limit: float, factor: float
) -> None:
    found = simulate(limit, times(factor), TRUE)
    assert 0.9 * limit <= found.spent <= limit
    assert found.progress > 0.9


@pytest.mark.parametrize("after", [40.0, 90.0, 150.0, 200.0])
@pytest.mark.parametrize("change", [0.5, 2.0])
def test_a_machine_that_changes_its_speed_in_the_middle_is_followed(after: float, change: float) -> None:
    found = simulate(300.0, TRUE, TRUE, lambda seconds: change if seconds > after else 1.0)
    assert 0.9 * 300 <= found.spent <= 300 + change * TRUE.validation


def test_a_number_of_epochs_follows_the_speed() -> None:
    usual = simulate(300.0, TRUE, TRUE)
    quick = simulate(300.0, TRUE, TRUE, lambda _: 0.5)
    slow = simulate(300.0, TRUE, TRUE, lambda _: 2.0)
    assert slow.num_epochs < usual.num_epochs < quick.num_epochs


@pytest.mark.parametrize(
    "shares",
    [
        pytest.param((3.0,), id="decoded"),
        pytest.param((0.3, 0.3), id="frozen"),
        pytest.param((0.25, 0.3, 0.4, 0.5, 0.7, 0.8), id="growing"),
    ],
)
def test_first_epochs_that_cost_otherwise_are_not_taken_for_those_that_follow(shares: tuple[float, ...]) -> None:
    costs = replace(TRUE, shares=shares)
    budget = TimeBudget(400.0, 0.0, lambda: 0.0, costs)
    expected = budget.expected_epochs
    found = simulate(400.0, costs, costs)
    assert 0.9 * 400 <= found.spent <= 400
    assert expected - 1 <= found.num_epochs <= expected  # the start took its time, too
    budget.note_epoch(costs.step_in(0), costs.validation)
    assert budget.costs.step == pytest.approx(TRUE.step)
    assert budget.costs.final_seconds == pytest.approx(TRUE.final_seconds)


def test_an_epoch_that_is_long_for_its_limit_is_begun_for_a_smaller_part_of_it() -> None:
    long = Costs(step=1.0, num_batches=100, validation=2.0)
    budget = TimeBudget(130.0, 0.0, lambda: 0.0, long)
    assert budget.expected_epochs == 2  # 26 s are a fifth of an epoch, and of the limit
    assert TimeBudget(114.0, 0.0, lambda: 0.0, long).expected_epochs == 2
    assert TimeBudget(110.0, 0.0, lambda: 0.0, long).expected_epochs == 1


def test_a_machine_that_gets_slower_within_an_epoch_keeps_more_for_the_end() -> None:
    budget = TimeBudget(60.0, 0.0, lambda: 0.0, TRUE)
    assert budget.reserve == TRUE.reserve == 24
    budget.note_pace(1.5)
    assert budget.reserve == 36
    assert budget.left_for_training == 60 - 36 - 6
    budget.note_pace(0.5)  # batches of a GPU may be waiting, and it is the end that counts
    assert budget.reserve == 24
