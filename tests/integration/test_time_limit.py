"""A time limit: several processes by one clock, and whole commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.cli import WarmProgram
from tests.helpers.clock import Clock, Ticking
from tests.helpers.ranks import gloo, run_ranks
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model, make_trainer

from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.callbacks.time_limit import TimeLimit
from classifier_training.run.time_budget import Costs, TimeBudget

pytestmark = LIGHTNING_NOTICES

COSTS = Costs(step=1.0, num_batches=20, validation=2.0, final_passes=2.0, final_seconds=6.0)


def fit_rank(folder: Path, world_size: int) -> Any:
    """What a rank did by a clock of its own, of which only the first one's counts."""
    clock = Clock()
    ticking = Ticking(clock)
    limit = TimeLimit(TimeBudget(75.0, 0.0, clock, COSTS), is_only_end=True, now=clock)
    model = make_model(model={"freeze_epochs": 0})
    trainer = make_trainer(
        folder,
        *(limit, ticking, RunCheckpoint(folder)),
        strategy=gloo(broadcast_buffers=False),
        devices=world_size,
        max_epochs=20,
        enable_checkpointing=True,
    )
    ticking.step = 1.0 if trainer.global_rank == 0 else 100.0
    trainer.fit(model, make_loader(40, 2), make_loader(1, 4))
    weights = sum(float(one.detach().double().sum()) for one in model.parameters())
    return {"rates": ticking.rates, "epoch": trainer.current_epoch, "step": trainer.global_step, "weights": weights}


def test_all_processes_end_at_the_same_step_with_the_same_learning_rates(program: WarmProgram, tmp_path: Path) -> None:
    one, other = run_ranks(program, fit_rank, 2, tmp_path / "ranks")
    assert one == other
    assert one["epoch"] == 3
    assert 40 < one["step"] <= 60  # how soon the others hear of it depends on the machine
    assert len(set(one["rates"])) > 20
    assert one["rates"][-1] < 0.2 * max(one["rates"])
