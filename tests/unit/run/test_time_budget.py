from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.helpers.clock import Clock

from classifier_training.run.time_budget import Costs, TimeBudget, has_run_out

COSTS = Costs(step=1.0, num_batches=10, validation=2.0, start=3.0, final_passes=2.0, final_seconds=6.0)


def make_budget(limit: float = 100.0, spent: float = 0.0) -> tuple[TimeBudget, Clock]:
    clock = Clock()
    budget = TimeBudget(limit, clock(), clock, COSTS)
    clock.seconds = spent
    return budget, clock


def test_a_validation_that_takes_longer_than_planned_leaves_the_estimated_end_alone() -> None:
    costs = replace(COSTS, final_passes=0.0, final_scoring=20.0)
    budget = TimeBudget(1000.0, 0.0, lambda: 0.0, costs)
    budget.note_epoch(1.0, 30.0)
    assert budget.reserve == costs.reserve == 26.0
    budget.note_epoch(2.0, 30.0)  # while a slower machine makes it longer
    assert budget.reserve == 52.0


def test_the_end_has_its_share_and_so_has_a_validation() -> None:
    budget, _ = make_budget(spent=20)
    assert COSTS.reserve == 10
    assert COSTS.least == 3 + 12 + 10
    assert (budget.left, budget.left_for_training) == (80, 68)
    assert budget.epochs_left == pytest.approx(70 / 12)


def test_time_is_up_when_no_further_batch_fits() -> None:
    budget, clock = make_budget(spent=87)
    assert budget.has_time_for(1)
    clock.seconds = 87.5
    assert not budget.has_time_for(1)


def test_a_part_of_an_epoch_is_worth_its_validation_from_a_quarter_on() -> None:
    budget, clock = make_budget(spent=85.5)
    assert budget.has_time_for_epoch
    clock.seconds = 86
    assert not budget.has_time_for_epoch


def test_progress_is_the_share_of_the_time_for_training() -> None:
    budget, clock = make_budget(spent=8)
    budget.begin()
    assert budget.progress() == 0
    clock.seconds = 48
    assert budget.progress() == pytest.approx(40 / 80)
    clock.seconds = 99
    assert budget.progress() == 1


def test_progress_ends_with_the_last_whole_epoch_where_only_a_rest_would_follow() -> None:
    budget, clock = make_budget(spent=16)  # time for 74 / 12 = 6.2 epochs
    budget.begin()
    budget.aim()
    clock.seconds = 16 + 6 * 12 - 2
    assert budget.progress() == pytest.approx(1)
    assert budget.has_time_for(1)


def test_progress_never_falls_when_the_end_turns_out_to_be_later() -> None:
    budget, clock = make_budget()
    budget.begin()
    clock.seconds = 50
    before = budget.progress()
    budget.costs = Costs(step=0.1, num_batches=10)
    assert budget.progress() == before


def test_a_resumed_budget_counts_on() -> None:
    budget, clock = make_budget()
    budget.begin()
    clock.seconds = 44
    assert budget.progress() == 0.5
    state = json.loads(json.dumps(budget.state()))

    resumed, later = make_budget()
    resumed.restore(state)
    assert (resumed.spent, resumed.progress()) == (44, 0.5)
    later.seconds = 22
    assert (resumed.spent, resumed.progress()) == (66, 0.75)


def test_with_more_time_the_progress_goes_on_from_where_it_was() -> None:
    budget, clock = make_budget()
    budget.begin()
    clock.seconds = 44
    budget.progress()

    resumed, later = make_budget(limit=144)
    resumed.restore(budget.state())
    assert resumed.progress() == 0.5
    later.seconds = 44
    assert resumed.progress() == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("spent", "limit", "has"),
    [(50, 100, False), (86, 100, True), (86, 200, False), (50, 60, True), (86, None, False)],
)
def test_whether_a_run_has_any_time_left_is_known_from_its_checkpoint(
    spent: float, limit: float | None, has: bool
) -> None:
    budget, _ = make_budget(spent=spent)
    assert has_run_out(budget.state(), limit) is has


def test_what_the_next_epoch_costs_is_known_from_a_checkpoint() -> None:
    budget, _ = make_budget(spent=70)
    budget.costs = replace(COSTS, shares=(8.0, 0.5))
    assert has_run_out(budget.state(), 89), "an epoch that decodes its images"
    budget.epoch = 1
    state = json.loads(json.dumps(budget.state()))
    assert not has_run_out(state, 89)
    resumed, _ = make_budget()
    resumed.restore(state)
    assert (resumed.step, resumed.costs) == (0.5, budget.costs)
    del state["epoch"], state["costs"]["shares"]  # as earlier versions wrote them
    resumed.restore(state)
    assert resumed.step == 1


def test_a_run_that_its_limit_has_ended_is_over_until_it_gets_another_one() -> None:
    budget, _ = make_budget(spent=50)
    budget.is_over = True
    assert has_run_out(budget.state(), 100)
    assert not has_run_out(budget.state(), 101)
    assert not has_run_out({}, 100)
