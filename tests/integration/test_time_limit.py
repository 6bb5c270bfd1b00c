"""A time limit: several processes by one clock, and whole commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
from safetensors.torch import save_file
from tests.helpers.cli import TINY, WarmProgram
from tests.helpers.clock import Clock, Ticking
from tests.helpers.ranks import gloo, run_ranks
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model, make_trainer

from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.callbacks.time_limit import TimeLimit
from classifier_training.config import load_config
from classifier_training.errors import ConfigError
from classifier_training.pages.write import report
from classifier_training.run.folder import RunFolder
from classifier_training.run.plan_record import PlanRecord
from classifier_training.run.records import read_record
from classifier_training.run.time_budget import Costs, TimeBudget
from classifier_training.training import time_plan
from classifier_training.training.train import train

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


class Impatient(Clock):
    """A clock that goes on by a second with every look at it."""

    def __call__(self) -> float:
        """The time."""
        self.seconds += 1.0
        return self.seconds


def test_a_training_that_its_time_ends_is_finished_and_goes_on_with_more_time(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_by_a_clock(*words: str, resume: Path | bool = False) -> Any:
        monkeypatch.setattr(time_plan, "TimeBudget", lambda limit, _: TimeBudget(limit, 0.0, Impatient()))
        monkeypatch.setattr(time_plan, "measure_costs", lambda *_, **__: Costs(step=1.0, num_batches=3, validation=1.0))
        settings = [f"run.dir={tmp_path}", *words]
        return train(None if resume else photos, *([] if resume else TINY), *settings, resume=resume, quiet=True)

    first = train_by_a_clock("trainer.time_limit=120", "run.name=timed", "data.mixup=0.2", "data.mix_off_epochs=1")
    run = RunFolder(tmp_path / "timed")
    assert first.onnx == run.onnx
    assert run.onnx.is_file()
    num_epochs = json.loads(run.results.read_text(encoding="utf-8"))["epochs"]
    assert 1 <= num_epochs < 20
    log = run.log.read_text(encoding="utf-8")
    assert f"the time for training is up after {num_epochs} epoch(s); finishing" in log
    page = report(run.root).read_text(encoding="utf-8")
    assert "of the 2 min 0 s of its time limit" in page
    assert "a best validation top-1 of" in page
    assert "the time for training is up after" in page
    spent = json.loads(run.time.read_text(encoding="utf-8"))["seconds"]
    assert {"start", "training", "choice", "scoring", "export"} <= set(spent)
    assert "max_epochs: null" in run.config.read_text(encoding="utf-8")
    before = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file() and path != run.log}

    assert train_by_a_clock(resume=run.root).test.top1 == first.test.top1  # there is nothing left to do
    assert {path: path.read_bytes() for path in before} == before

    train_by_a_clock("trainer.time_limit=300", "export.enabled=false", resume=run.root)
    assert json.loads(run.results.read_text(encoding="utf-8"))["epochs"] > num_epochs
    assert "time limit 5 min 0 s: " in run.log.read_text(encoding="utf-8")


def test_a_limit_is_no_hurry_for_a_training_that_is_done_before(
    program: WarmProgram, photos: Path, tmp_path: Path
) -> None:
    words = ("train", photos, "--time-limit", "1h", *TINY, "trainer.max_epochs=1", "run.name=early")
    finished = program(*words, folder=tmp_path)
    assert finished.code == 0, finished
    run = RunFolder(tmp_path / "runs" / "early")
    assert run.onnx.is_file()
    assert "1, each of about" in finished.out
    assert "which end before the time does" in finished.out
    assert "comes with the first epoch" in finished.out


def test_a_limit_that_is_too_short_for_an_epoch_says_the_least(
    program: WarmProgram, photos: Path, tmp_path: Path
) -> None:
    finished = program("train", photos, "--time-limit", "1s", *TINY, folder=tmp_path)
    assert finished.code == 2, finished
    [line] = finished.err.splitlines()
    assert line.startswith("error: trainer.time_limit=1s is too short for one epoch: ")
    assert "; the least that works is about --time-limit " in line
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights to start from, as if they had been pretrained."""
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_file(timm.create_model("test_byobnet", num_classes=5).state_dict(), path)
    return path


def test_a_limit_that_is_too_short_for_fine_tuning_gives_the_probe(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Costs(step=1000.0, num_batches=3, probe=1.0)
    monkeypatch.setattr(time_plan, "measure_costs", lambda *_, **__: slow)
    settings = (*TINY, f"model.weights={weights}", f"run.dir={tmp_path}", "run.name=short")
    with pytest.raises(ConfigError, match=r"is too short .* --time-limit \S+, or \S+ for the probe alone$"):
        train(photos, *settings, "recipe=finetune", "trainer.time_limit=0.1", quiet=True)
    assert not list(tmp_path.iterdir())

    result = train(photos, *settings, "trainer.time_limit=10m", quiet=True)
    assert result is not None
    assert result.onnx is not None
    run = RunFolder(tmp_path / "short")
    config = load_config(file=run.config)  # of a run that can be resumed
    assert (config.recipe.name, config.trainer.time_limit) == ("probe", None)
    assert "the probe is fitted instead, recipe=probe" in run.log.read_text(encoding="utf-8")
    recipe = read_record(run.plan, PlanRecord).rows["recipe"]
    assert recipe == "probe, as trainer.time_limit=10m is too short for one epoch"
