from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model, make_trainer
from torch import nn
from torch.optim import SGD

from classifier_training.config.schema import SchedulerConfig
from classifier_training.errors import ConfigError
from classifier_training.models.schedule import (
    ResumableLR,
    Schedule,
    build_scheduler,
    default_warmup_epochs,
    lr_factor,
)

pytestmark = LIGHTNING_NOTICES


def factor_at(step: int, *, total_steps: int, warmup_steps: int, min_lr_ratio: float, name: Any = "cosine") -> float:
    config = SchedulerConfig(name=name, min_lr_ratio=min_lr_ratio)
    return Schedule(config, total_steps=total_steps, max_epochs=1, warmup_steps=warmup_steps)(step)


def one_group() -> list[dict[str, Any]]:
    return [{"params": [nn.Parameter(torch.ones(2))], "lr": 0.5}]


def test_the_learning_rate_rises_linearly_then_falls_as_a_cosine() -> None:
    factors = [factor_at(step, total_steps=30, warmup_steps=9, min_lr_ratio=0.1) for step in range(31)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert max(factors) == factors[9] == 1.0
    assert factors[30] == pytest.approx(0.1)
    cosine = [0.1 + 0.9 * (1 + math.cos(math.pi * step / 21)) / 2 for step in range(22)]
    assert factors[9:] == pytest.approx(cosine)


def test_the_learning_rate_can_stay() -> None:
    factors = [factor_at(step, total_steps=6, warmup_steps=1, min_lr_ratio=0.1, name="constant") for step in range(7)]
    assert factors == [0.5, 1, 1, 1, 1, 1, 1]


def test_the_learning_rate_ends_at_its_minimum_and_stays_there() -> None:
    for step in (20, 21, 1000):
        assert factor_at(step, total_steps=20, warmup_steps=2, min_lr_ratio=0.0) == pytest.approx(0.0)


class LearningRates(lightning.Callback):
    """The learning rate that every optimizer step was made with."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_schedule_counts_optimizer_steps(tmp_path: Path, accumulate: int) -> None:
    model = make_model(optimizer={"lr": 1.0}, scheduler={"warmup_epochs": 1.0, "min_lr_ratio": 0.1})
    seen = LearningRates()
    trainer = make_trainer(tmp_path, seen, max_epochs=3, accumulate_grad_batches=accumulate)
    trainer.fit(model, make_loader(4, 2), make_loader(1, 4))
    per_epoch = 4 // accumulate
    total = 3 * per_epoch
    options: Any = {"total_steps": total, "warmup_steps": per_epoch, "min_lr_ratio": 0.1}
    assert seen.rates == pytest.approx([factor_at(step, **options) for step in range(total)])


@pytest.mark.parametrize("warmup", [1.0, 1.5, 100.0])
def test_a_warmup_as_long_as_the_training_is_refused(tmp_path: Path, warmup: float) -> None:
    model = make_model(scheduler={"warmup_epochs": warmup})
    with pytest.raises(ConfigError, match=f"warmup_epochs={warmup:g} is as long as the training, trainer.max_epochs=1"):
        make_trainer(tmp_path).fit(model, make_loader(4, 2), make_loader(1, 4))


def test_a_warmup_that_nobody_set_takes_half_of_a_single_epoch(tmp_path: Path) -> None:
    seen = LearningRates()
    make_trainer(tmp_path, seen).fit(make_model(optimizer={"lr": 1.0}), make_loader(6, 2), make_loader(1, 4))
    assert seen.rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert max(seen.rates[4:]) < 1.0
    assert [default_warmup_epochs(epochs) for epochs in (1, 2, 3, 20)] == [0.5, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("options", [{"max_steps": 6, "max_epochs": None}, {"max_steps": 6, "max_epochs": 9}])
def test_a_training_that_is_measured_in_steps_has_its_schedule(tmp_path: Path, options: dict[str, Any]) -> None:
    seen = LearningRates()
    model = make_model(optimizer={"lr": 1.0}, scheduler={"warmup_epochs": 0.5})
    make_trainer(tmp_path, seen, **options).fit(model, make_loader(4, 2), make_loader(1, 4))
    schedule: Any = {"total_steps": 6, "warmup_steps": 2, "min_lr_ratio": 0.01}
    assert seen.rates == pytest.approx([factor_at(step, **schedule) for step in range(6)])


def test_a_training_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give the Trainer max_epochs or max_steps"):
        make_trainer(tmp_path, max_epochs=-1).fit(make_model(), make_loader(4, 2), make_loader(1, 4))


# -- another number of epochs ------------------------------------------------------------------------------------


def schedule_of(total_steps: int, *, name: Any = "cosine", warmup: float | None = 2) -> tuple[SGD, ResumableLR]:
    """Ten steps an epoch; the peak is 0.5."""
    optimizer = SGD(one_group(), lr=0.5)
    config = SchedulerConfig(name=name, warmup_epochs=warmup, min_lr_ratio=0.1)
    return optimizer, build_scheduler(optimizer, config, total_steps=total_steps, max_epochs=total_steps / 10)


def run_on(optimizer: SGD, scheduler: ResumableLR, until: int) -> list[float]:
    """The rates of the steps from the present one."""
    rates = []
    while scheduler.last_epoch < until:
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return [*rates, float(optimizer.param_groups[0]["lr"])]


def resume(before: tuple[SGD, ResumableLR], total_steps: int, **options: Any) -> tuple[SGD, ResumableLR]:
    optimizer, scheduler = schedule_of(total_steps, **options)
    optimizer.load_state_dict(before[0].state_dict())
    state = before[1].state_dict()
    torch.save(state, file := io.BytesIO())
    file.seek(0)
    scheduler.load_state_dict(torch.load(file, weights_only=True))
    return optimizer, scheduler


@pytest.mark.parametrize(("at", "total"), [(60, 200), (100, 200), (60, 80), (20, 200), (21, 500)])
def test_a_resumed_training_of_another_length_goes_on_from_its_learning_rate(at: int, total: int) -> None:
    before = schedule_of(100)
    present = run_on(*before, at)[-1]

    rates = run_on(*resume(before, total), total)

    assert rates[0] == present
    assert rates[-1] == pytest.approx(0.05)
    share = [0.5 * (1 + math.cos(math.pi * step / (total - at))) for step in range(total - at + 1)]
    assert rates == pytest.approx([0.05 + (present - 0.05) * part for part in share])


def test_a_warmup_that_is_resumed_goes_on_to_the_new_end() -> None:
    before = schedule_of(100)
    run_on(*before, 10)
    assert run_on(*resume(before, 200), 200) == pytest.approx(run_on(*schedule_of(200), 200)[10:])


def test_a_learning_rate_that_stays_stays() -> None:
    before = schedule_of(100, name="constant")
    run_on(*before, 100)
    assert set(run_on(*resume(before, 200, name="constant"), 200)) == {0.5}


def test_an_extended_training_that_is_killed_ends_as_if_it_had_not_been() -> None:
    before = schedule_of(100)
    run_on(*before, 60)
    whole = run_on(*resume(before, 200), 200)
    halfway = resume(before, 200)
    first = run_on(*halfway, 90)
    assert first[:-1] + run_on(*resume(halfway, 200), 200) == whole


def test_a_training_that_is_extended_twice_goes_on_each_time() -> None:
    before = schedule_of(100)
    run_on(*before, 60)
    once = resume(before, 200)
    present = run_on(*once, 130)[-1]
    rates = run_on(*resume(once, 300), 300)
    assert rates[0] == present
    assert max(rates) == present
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(("total", "jumps"), [(100, False), (200, True)])
def test_a_checkpoint_of_an_earlier_version_holds_the_rates_alone(total: int, jumps: bool) -> None:
    before = schedule_of(100)
    present = run_on(*before, 60)[-1]
    state = before[1].state_dict()
    state["lr_lambdas"] = [None]
    optimizer, scheduler = schedule_of(total)
    optimizer.load_state_dict(before[0].state_dict())
    scheduler.load_state_dict(state)
    rates = run_on(optimizer, scheduler, total)
    assert rates[0] == present
    assert present * 0.95 < rates[1] < present
    if not jumps:
        assert rates == run_on(*schedule_of(100), 100)[60:]


@pytest.mark.parametrize("total", [100, 200])
def test_a_checkpoint_of_the_only_two_schedules_there_were_goes_on(total: int) -> None:
    before = schedule_of(100)
    present = run_on(*before, 60)[-1]
    state = before[1].state_dict()
    old = {"total_steps": 100, "max_epochs": 10.0, "warmup_steps": 20, "min_lr_ratio": 0.1, "is_cosine": True}
    state["lr_lambdas"] = [{**old, "start_step": 0, "start_factor": 1.0}]
    optimizer, scheduler = schedule_of(total)
    optimizer.load_state_dict(before[0].state_dict())
    scheduler.load_state_dict(state)
    rates = run_on(optimizer, scheduler, total)
    assert rates[0] == present
    assert rates == run_on(*resume(before, total), total)
    assert not hasattr(scheduler.schedule, "is_cosine")


def test_a_warmup_keeps_its_steps_where_none_was_set() -> None:
    before = schedule_of(10, warmup=None)
    run_on(*before, 3)

    rates = run_on(*resume(before, 40, warmup=None), 40)

    assert rates[:3] == pytest.approx([0.5 * step / 6 for step in (4, 5, 6)])  # half an epoch, as it began
    assert rates[3:] == sorted(rates[3:], reverse=True)


def test_a_warmup_ends_before_a_shorter_training() -> None:
    before = schedule_of(100, warmup=2)
    run_on(*before, 4)

    scheduler = resume(before, 10, warmup=2)[1]

    assert run_on(scheduler.optimizer, scheduler, 10)[-1] < 0.5  # type: ignore[arg-type]  # it is the SGD of above


# -- shapes ------------------------------------------------------------------------------------------------------


def curve(name: Any, points: tuple[float, ...], **options: Any) -> list[float]:
    return [lr_factor(SchedulerConfig(name=name, **options), point) for point in points]


def test_each_shape_is_the_one_of_its_name() -> None:
    quarters = (0.0, 0.25, 0.5, 0.75, 1.0)
    assert curve("linear", quarters, min_lr_ratio=0.2) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    assert curve("poly", quarters, min_lr_ratio=0.0, power=2.0) == pytest.approx([1, 0.5625, 0.25, 0.0625, 0])
    assert curve("step", (0.0, 0.49, 0.5, 0.74, 0.75, 1.0)) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert curve("step", (0.9,), gamma=0.01) == [0.01]  # not below min_lr_ratio
    assert curve("constant", quarters) == curve("plateau", quarters) == [1.0] * 5
    assert curve("cosine_restarts", quarters, num_cycles=2, min_lr_ratio=0.0) == pytest.approx([1, 0.5, 1, 0.5, 0])
    growing = curve("cosine_restarts", (0.0, 0.25, 0.5, 1.0), num_cycles=2, cycle_growth=3.0, min_lr_ratio=0.0)
    assert growing == pytest.approx([1, 1, 0.75, 0])
    cycle = curve("one_cycle", (0.0, 0.125, 0.25, 0.625, 1.0), rise=0.25, min_lr_ratio=0.0)
    assert cycle == pytest.approx([0.04, 0.52, 1.0, 0.5, 0.0])


SHAPES = ("cosine", "constant", "linear", "one_cycle", "step", "poly", "cosine_restarts", "plateau")


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "plateau"])
@pytest.mark.parametrize("total", [80, 200])
def test_what_is_left_of_every_curve_is_stretched_over_what_is_left_of_the_training(name: Any, total: int) -> None:
    warmup = None if name == "one_cycle" else 2
    before = schedule_of(100, name=name, warmup=warmup)
    rates = run_on(*before, 100)
    at = 60
    before = schedule_of(100, name=name, warmup=warmup)
    present = run_on(*before, at)[-1]

    resumed = run_on(*resume(before, total, name=name, warmup=warmup), total)

    assert resumed[0] == pytest.approx(present)
    assert resumed[-1] == pytest.approx(rates[-1])
    if name != "cosine":  # which falls as another cosine
        share = (total - at) / 40
        assert resumed[int(share * 20)] == pytest.approx(rates[80])


@pytest.mark.parametrize("name", SHAPES)
def test_a_training_that_is_killed_goes_on_to_the_bit_under_every_schedule(name: Any) -> None:
    whole = run_on(*schedule_of(50, name=name, warmup=None), 50)
    killed = schedule_of(50, name=name, warmup=None)
    first = run_on(*killed, 23)
    assert first[:-1] + run_on(*resume(killed, 50, name=name, warmup=None), 50) == whole


def test_a_plateau_lowers_the_learning_rate_after_epochs_without_a_lower_loss() -> None:
    def scheduler_of() -> tuple[SGD, ResumableLR]:
        optimizer = SGD(one_group(), lr=0.5)
        config = SchedulerConfig(name="plateau", warmup_epochs=1.0, plateau_patience=2, min_lr_ratio=0.05)
        return optimizer, build_scheduler(optimizer, config, total_steps=200, max_epochs=20)

    losses = [9.0, 1.0, 0.8, 0.8, 0.79999, 0.5, 0.6, 0.6, 0.7, 0.7, 0.8, 0.4]
    expected = [0.5, 0.5, 0.5, 0.5, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.025, 0.025]
    optimizer, scheduler = scheduler_of()
    run_on(optimizer, scheduler, 9)
    scheduler.note_validation(0.1)  # in the warm-up: it does not count
    rates = []
    for number, loss in enumerate(losses):
        run_on(optimizer, scheduler, 10 * (number + 1))
        scheduler.note_validation(loss)
        rates.append(float(optimizer.param_groups[0]["lr"]))
        state = scheduler.state_dict(), optimizer.state_dict()
        optimizer, scheduler = scheduler_of()
        optimizer.load_state_dict(state[1])
        scheduler.load_state_dict(state[0])
    assert rates == pytest.approx(expected)


def test_a_plateau_follows_the_validation_loss_of_a_training(tmp_path: Path) -> None:
    seen = LearningRates()
    model = make_model(
        optimizer={"lr": 1e-20}, scheduler={"name": "plateau", "warmup_epochs": 0.0, "plateau_patience": 1}
    )
    trainer = make_trainer(tmp_path, seen, max_epochs=4)
    trainer.fit(model, make_loader(2, 2), make_loader(1, 4))
    # weights that hardly move: the loss of the second epoch is not lower than that of the first, and so on
    assert seen.rates == pytest.approx([1e-20] * 4 + [1e-21] * 2 + [1e-22] * 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "one_cycle", "warmup_epochs": 1.0}, "one_cycle begins with a rise of its own"),
        ({"name": "step", "milestones": [0.5, 0.5]}, "milestones: must rise"),
    ],
)
def test_schedules_that_contradict_themselves_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SchedulerConfig.model_validate(settings)
