from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tests.helpers.clock import Clock, Ticking
from tests.helpers.training import LIGHTNING_NOTICES, KilledError, make_loader, make_model, make_trainer

from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.callbacks.metrics_csv import MetricsCSV
from classifier_training.callbacks.time_limit import TimeLimit
from classifier_training.run.time_budget import Costs, TimeBudget

pytestmark = LIGHTNING_NOTICES

COSTS = Costs(step=1.0, num_batches=10, validation=2.0, final_passes=2.0, final_seconds=6.0)
NUM_BATCHES = 10


def fit(
    folder: Path,
    limit: float,
    *,
    max_epochs: int | None = None,
    resume: bool = False,
    step: float = 1.0,
    **options: Any,
) -> tuple[lightning.Trainer, Ticking, TimeLimit]:
    """Trains by a clock on which a batch takes a second and a validation two; 10 seconds are kept for the end."""
    clock = Clock()
    ticking = Ticking(clock, step)
    time_limit = TimeLimit(TimeBudget(limit, 0.0, clock, COSTS), is_only_end=max_epochs is None, now=clock)
    settings: dict[str, Any] = {"max_epochs": max_epochs or 20, "enable_checkpointing": True}
    callbacks = [time_limit, MetricsCSV(folder / "metrics.csv"), ticking, RunCheckpoint(folder)]
    trainer = make_trainer(folder, *callbacks, **settings | options)
    last = folder / "last.ckpt"
    model = make_model(model={"freeze_epochs": 0}, scheduler={"warmup_epochs": 1.0})
    checkpoint = last if resume else None
    trainer.fit(model, make_loader(NUM_BATCHES, 2), make_loader(1, 8), ckpt_path=checkpoint, weights_only=True)
    return trainer, ticking, time_limit


def num_rows(folder: Path) -> int:
    return len((folder / "metrics.csv").read_text().splitlines()) - 1


def test_as_many_epochs_as_fit_and_every_one_is_validated(tmp_path: Path) -> None:
    trainer, ticking, limit = fit(tmp_path, 47.0)  # 37 for epochs of 12: the rest of 1 is not worth a validation
    assert (trainer.current_epoch, ticking.num_validations, num_rows(tmp_path)) == (3, 3, 3)
    assert trainer.global_step == 30
    assert limit.budget.is_over
    assert limit.budget.left >= COSTS.reserve


def test_the_last_epoch_may_be_a_part_which_is_validated_and_kept(tmp_path: Path) -> None:
    trainer, ticking, limit = fit(tmp_path, 41.0)  # 31 for epochs of 12: two, and five batches with a validation
    assert (trainer.current_epoch, ticking.num_validations, num_rows(tmp_path)) == (3, 3, 3)
    assert trainer.global_step == 25
    assert limit.budget.left == COSTS.reserve
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 25


def test_the_learning_rate_ends_with_the_time_however_fast_the_steps_are(tmp_path: Path) -> None:
    for number, step in enumerate((0.8, 2.0)):
        _, ticking, _ = fit(tmp_path / str(number), 60.0, step=step)
        peak = ticking.rates.index(max(ticking.rates))
        assert peak < len(ticking.rates) / 4
        assert all(later <= earlier for earlier, later in pairwise(ticking.rates[peak:]))
        assert ticking.rates[-1] < 0.1 * max(ticking.rates)


def test_a_slow_first_epoch_is_ended_in_time_too(tmp_path: Path) -> None:
    trainer, ticking, limit = fit(tmp_path, 40.0, step=9.0)
    assert (trainer.current_epoch, ticking.num_validations) == (1, 1)
    assert trainer.global_step == 4
    assert limit.budget.left >= 0


def test_with_a_number_of_epochs_whichever_comes_first_ends_the_training(tmp_path: Path) -> None:
    trainer, ticking, limit = fit(tmp_path / "epochs", 100.0, max_epochs=2)
    assert (trainer.current_epoch, trainer.global_step, limit.budget.is_over) == (2, 20, False)
    assert ticking.rates[-1] < 0.05 * max(ticking.rates)
    trainer, ticking, limit = fit(tmp_path / "time", 47.0, max_epochs=8)
    assert (trainer.current_epoch, trainer.global_step, limit.budget.is_over) == (3, 30, True)
    assert ticking.rates[-1] < 0.05 * max(ticking.rates)


def test_the_time_is_up_between_two_steps_only(tmp_path: Path) -> None:
    trainer, _, limit = fit(tmp_path, 32.0, accumulate_grad_batches=4)  # 4, 4 and 2 batches a step
    assert trainer.global_step == 3 + 2
    assert limit.budget.left >= COSTS.reserve


def test_a_run_that_was_ended_by_its_limit_goes_on_with_more_time(tmp_path: Path) -> None:
    _, before, _ = fit(tmp_path, 41.0)
    trainer, ticking, limit = fit(tmp_path, 77.0, resume=True)
    assert limit.budget.spent == pytest.approx(31 + len(ticking.rates) + 2 * ticking.num_validations)
    assert trainer.current_epoch == 3 + 3
    assert trainer.global_step == 25 + 30
    assert num_rows(tmp_path) == 6
    assert ticking.rates[0] == pytest.approx(before.rates[-1], abs=1e-4)


class KillAt(lightning.Callback):
    """Saves after a step, and ends the training."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Saves."""
        if trainer.global_step == 17 and isinstance(trainer.checkpoint_callback, RunCheckpoint):
            trainer.checkpoint_callback.save_last(trainer)
            raise KilledError


def test_a_resumed_run_has_the_time_that_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _, _ = fit(tmp_path / "whole", 60.0)
    with monkeypatch.context() as patch:
        patch.setattr(Ticking, "on_train_epoch_start", KillAt.on_train_batch_end, raising=False)
        patch.setattr(MetricsCSV, "on_train_batch_end", KillAt.on_train_batch_end, raising=False)
        with pytest.raises(KilledError):
            fit(tmp_path / "parts", 60.0)
    resumed, _, limit = fit(tmp_path / "parts", 60.0, resume=True)
    assert (resumed.current_epoch, num_rows(tmp_path / "parts")) == (whole.current_epoch, 4)
    assert abs(resumed.global_step - whole.global_step) <= 1  # the second that the killed step took is not known
    assert limit.budget.is_over
