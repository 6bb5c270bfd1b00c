"""Between the batches of an epoch no hook of a run waits for the device, and none waits for the other processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning
import pytest
from tests.helpers.cli import WarmProgram
from tests.helpers.ranks import gloo, run_ranks
from tests.helpers.steps import StepWatch
from tests.helpers.training import (
    IMAGE_SIZE,
    LIGHTNING_NOTICES,
    make_config,
    make_learnable_photos,
    make_loader,
    make_model,
    make_trainer,
)

from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.callbacks.ema import EMACallback
from classifier_training.callbacks.graceful_stop import GracefulStop
from classifier_training.callbacks.progress import TrainingProgress
from classifier_training.callbacks.throughput import Throughput
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.settings import ModelSettings
from classifier_training.run.folder import RunFolder
from classifier_training.run.stop_requests import StopRequests
from classifier_training.terminal.terminal import Terminal
from classifier_training.tracking.trackers import Trackers
from classifier_training.training.plan import Plan
from classifier_training.training.trainer import build_trainer

pytestmark = LIGHTNING_NOTICES


MIXED = {"mixup": 0.4, "cutmix": 1.0, "random_erasing": 0.5, "repeated_augmentation": 2}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_learnable_photos(tmp_path_factory.mktemp("learnable"))


@pytest.mark.parametrize(
    ("sections", "model_options"),
    [
        (
            {
                "report": {"enabled": False},
                "model": {"grad_checkpointing": True},
                "optimizer": {"sam_rho": 0.05, "layer_decay": 0.8},
                "scheduler": {"name": "one_cycle"},
                "trainer": {"gradient_clip_algorithm": "agc", "gradient_clip_val": 0.02},
            },
            {},
        ),
        ({"model": {"freeze_epochs": 1, "drop_rate": 0.2}, "trainer": {"accumulate_grad_batches": 2}}, {}),
        (
            {"report": {"enabled": False}, "data": {"balance": "sampler", **MIXED}, "loss": {"name": "focal"}},
            {"class_weights": [0.0, 1.0]},
        ),
        (
            {"report": {"enabled": False}, "data": MIXED, "loss": {"name": "bce"}, "optimizer": {"name": "sgd"}},
            {"class_weights": [0.5, 1.0]},
        ),
        (
            {
                "report": {"enabled": False},
                "data": MIXED,
                "model": {"freeze_norm_stats": True},
                "ema": {"warmup_steps": 3},
            },
            {"class_counts": [3, 4]},
        ),
    ],
    ids=["sharpness", "accumulated", "focal", "bce", "adjusted"],
)
def test_no_step_of_a_run_waits_for_the_device(
    tmp_path: Path, images: Path, sections: dict[str, dict[str, Any]], model_options: dict[str, Any]
) -> None:
    trainer_settings = {"max_epochs": 1, "precision": "32-true", "devices": 1, "early_stopping_patience": 3}
    merged = {**sections, "trainer": {**trainer_settings, **sections.get("trainer", {})}}
    config = make_config(checkpoint={"every_n_minutes": 100.0, "every_n_steps": 1000}, **merged)
    plan = Plan(config, cast("Any", None), cast("Any", None), "cpu")
    trainer = build_trainer(RunFolder(tmp_path), plan, Terminal(quiet=True), StopRequests(), Trackers())
    watch = StepWatch()
    cast("Any", trainer).profiler = watch
    data = ImageFolderDataModule(images, config=config.data, batch_size=2, image_size=IMAGE_SIZE, num_workers=0)
    model = BaseClassificationModel(
        "test_resnet", 2, image_size=IMAGE_SIZE, settings=ModelSettings.from_config(config), **model_options
    )

    trainer.fit(model, datamodule=data)

    watch.end()
    first, *middle, last = watch.waits()
    assert len(middle) == 10
    assert middle == [{}] * 10
    assert last, "what is known once an epoch is read at its end, so this test would see it"
    del first  # its images are plotted


def count_collectives(folder: Path, world_size: int) -> Any:
    """The collective operations of some steps, of a bare training and of one with everything that a run has."""
    counts = []
    terminal, throughput = Terminal(quiet=True), Throughput()
    run: list[lightning.Callback] = [EMACallback(0.9), throughput, TrainingProgress(terminal, throughput)]
    run += [GracefulStop(), RunCheckpoint(folder, every_n_minutes=100.0)]
    for callbacks in ([RunCheckpoint(folder)], run):
        strategy = gloo(broadcast_buffers=False)
        trainer = make_trainer(folder, *callbacks, strategy=strategy, devices=world_size, enable_checkpointing=True)
        watch = StepWatch()
        cast("Any", trainer).profiler = watch
        trainer.fit(make_model(), make_loader(16, 4), make_loader(2, 4))
        watch.end()
        counts.append((watch.collectives()[3:-1], watch.waits()[3:-1]))
    return counts


def test_no_step_waits_for_the_other_processes_but_to_add_up_the_gradients(
    program: WarmProgram, tmp_path: Path
) -> None:
    for bare, ours in run_ranks(program, count_collectives, 2, tmp_path / "ranks"):
        (gradients, waits), (sums, few) = bare, ours
        assert all(step.get("c10d::broadcast_") for step in gradients), "Lightning asks rank 0 for its signals"
        assert waits
        assert sums == [{"c10d::allreduce_": step["c10d::allreduce_"]} for step in gradients]
        assert few == [{}] * 4
