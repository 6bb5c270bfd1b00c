from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from tests.helpers.training import LIGHTNING_NOTICES, make_config

from classifier_training.callbacks.checkpoint import AtomicCheckpointIO, RunCheckpoint
from classifier_training.callbacks.ema import EMACallback
from classifier_training.callbacks.graceful_stop import GracefulStop
from classifier_training.models.layer_sync import BatchNormSync
from classifier_training.run.folder import RunFolder
from classifier_training.run.stop_requests import StopRequests
from classifier_training.terminal.terminal import Terminal
from classifier_training.tracking.trackers import Trackers
from classifier_training.training.plan import Plan
from classifier_training.training.trainer import _layer_sync, _strategy, build_trainer

pytestmark = LIGHTNING_NOTICES


@pytest.fixture(autouse=True)
def _no_lasting_determinism() -> Any:
    """A Trainer switches it on for the whole process."""
    yield
    torch.use_deterministic_algorithms(False)


def build(folder: Path, requests: StopRequests | None = None, **sections: dict[str, Any]) -> Any:
    """A Trainer by settings; of a plan it asks neither the photos nor the preprocessing."""
    config = make_config(**{"trainer": {"precision": "32-true", "devices": 1}, **sections})
    plan = Plan(config, cast("Any", None), cast("Any", None), "cpu")
    return build_trainer(RunFolder(folder), plan, Terminal(quiet=True), requests or StopRequests(), Trackers())


def callback(trainer: Any, kind: type[Callback]) -> Any:
    (found,) = [one for one in trainer.callbacks if isinstance(one, kind)]
    return found


def test_it_writes_nothing_before_it_trains(tmp_path: Path) -> None:
    build(tmp_path)
    assert not list(tmp_path.iterdir())


def test_checkpoints_are_written_as_configured(tmp_path: Path) -> None:
    settings = {"monitor": "val/loss", "every_n_steps": 5, "every_n_minutes": 7.5, "keep_last": 3}
    trainer = build(tmp_path, checkpoint=settings)
    checkpoint = callback(trainer, RunCheckpoint)
    assert {name: getattr(checkpoint, name) for name in settings} == settings
    assert (checkpoint.mode, checkpoint.dirpath) == ("min", tmp_path / "checkpoints")
    assert trainer.callbacks[-1] is checkpoint, "what all others know is in the checkpoint"
    assert isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO)


def test_the_average_is_there_unless_it_is_switched_off(tmp_path: Path) -> None:
    assert callback(build(tmp_path), EMACallback)
    assert not [one for one in build(tmp_path, ema={"enabled": False}).callbacks if isinstance(one, EMACallback)]


def test_what_asks_to_stop_is_what_was_given(tmp_path: Path) -> None:
    requests = StopRequests()
    assert callback(build(tmp_path, requests), GracefulStop).requests is requests


def test_a_resumed_run_has_the_patience_of_its_settings(tmp_path: Path) -> None:
    def build_stopping(patience: int) -> Any:
        trainer = build(tmp_path, trainer={"early_stopping_patience": patience, "precision": "32-true"})
        return callback(trainer, EarlyStopping)

    before = build_stopping(2)
    before.wait_count = 1
    after = build_stopping(5)
    after.load_state_dict(before.state_dict())
    assert (after.wait_count, after.patience) == (1, 5)
    assert before.state_key == after.state_key


@pytest.mark.parametrize(("accelerator", "devices", "is_synchronised"), [("cuda", 2, 1), ("cuda", 1, 0), ("cpu", 2, 0)])
def test_several_gpus_count_batch_norm_together(accelerator: str, devices: int, is_synchronised: bool) -> None:
    config = make_config(trainer={"precision": "32-true", "devices": devices})
    plan = Plan(config, cast("Any", None), cast("Any", None), accelerator)
    assert [type(one) for one in _layer_sync(plan)] == [BatchNormSync] * is_synchronised


@pytest.mark.parametrize("freeze_epochs", [0, 2])
def test_gradients_are_shared_in_place_and_without_a_search_for_unused_ones(freeze_epochs: int) -> None:
    config = make_config(trainer={"precision": "32-true", "devices": 2}, model={"freeze_epochs": freeze_epochs})
    strategy = _strategy(Plan(config, cast("Any", None), cast("Any", None), "cpu"))
    assert strategy._ddp_kwargs == {"broadcast_buffers": False, "gradient_as_bucket_view": True}
