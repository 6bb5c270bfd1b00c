"""What every callback keeps to; one that is new in the table of a run's callbacks is tested at once."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import pickle
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tests.helpers.clock import Clock
from tests.helpers.training import IMAGE_SIZE, LIGHTNING_NOTICES, NUM_CLASSES, make_loader, make_trainer
from torch import Tensor, nn

from classifier_training import callbacks
from classifier_training.callbacks import (
    CacheWarnings,
    ConfusionMatrixCallback,
    DatasetStatisticsCallback,
    EMACallback,
    GracefulStop,
    MetricsCSV,
    ModelInfoCallback,
    ONNXExportCallback,
    PredictionsCallback,
    ReportCallback,
    RunCheckpoint,
    SamplerDistributionCallback,
    SampleVisualizationCallback,
    Throughput,
    TrackingCallback,
    TrainingHistoryCallback,
    TrainingProgress,
)
from classifier_training.callbacks.batch_position import BatchPosition
from classifier_training.callbacks.loss_watch import LossWatch
from classifier_training.callbacks.memory_trial import MemoryTrial
from classifier_training.callbacks.table import CALLBACKS, RunContext, build_callbacks
from classifier_training.callbacks.time_limit import TimeLimit
from classifier_training.config.schema import Config
from classifier_training.run.folder import RunFolder
from classifier_training.run.stop_requests import StopRequests
from classifier_training.run.time_budget import TimeBudget
from classifier_training.terminal.terminal import Terminal
from classifier_training.tracking.trackers import Trackers

pytestmark = [*LIGHTNING_NOTICES, pytest.mark.filterwarnings("ignore:no predictions are shown")]

MAKERS: dict[type[lightning.Callback], Callable[[Path], lightning.Callback]] = {
    CacheWarnings: lambda folder: CacheWarnings(),
    ConfusionMatrixCallback: lambda folder: ConfusionMatrixCallback(folder),
    DatasetStatisticsCallback: lambda folder: DatasetStatisticsCallback(folder / "data.json", folder / "plots"),
    EMACallback: lambda folder: EMACallback(),
    GracefulStop: lambda folder: GracefulStop(),
    MetricsCSV: lambda folder: MetricsCSV(folder / "metrics.csv"),
    ModelInfoCallback: lambda folder: ModelInfoCallback(folder / "model_info.json"),
    ONNXExportCallback: lambda folder: ONNXExportCallback(
        folder / "onnx", input_height=IMAGE_SIZE, input_width=IMAGE_SIZE
    ),
    PredictionsCallback: lambda folder: PredictionsCallback(folder),
    ReportCallback: lambda folder: ReportCallback(folder),
    RunCheckpoint: lambda folder: RunCheckpoint(folder),
    SampleVisualizationCallback: lambda folder: SampleVisualizationCallback(folder),
    SamplerDistributionCallback: lambda folder: SamplerDistributionCallback(folder / "drawn.csv", folder / "drawn.png"),
    Throughput: lambda folder: Throughput(),
    TimeLimit: lambda folder: TimeLimit(TimeBudget(1000.0, 0.0, Clock()), now=Clock()),
    TrackingCallback: lambda folder: TrackingCallback(folder, Trackers()),
    TrainingHistoryCallback: lambda folder: TrainingHistoryCallback(folder / "history.png"),
    TrainingProgress: lambda folder: TrainingProgress(Terminal(quiet=True), Throughput()),
}
"""How to make each public callback, with as little as it takes; any other is built as for a run."""

SHARED = {"best_epochs", "deferred_plot", "epoch_metrics", "prediction_source", "table"}
"""Files of what several callbacks have in common; every other one holds a callback."""
NOT_IN_A_RUN = {ONNXExportCallback}  # a run exports after its training, whether or not it was interrupted


def all_callbacks() -> list[type[lightning.Callback]]:
    """The public ones, and those of a run that are not private."""
    values = [getattr(callbacks, name) for name in callbacks.__all__]
    rows = [row.kind for row in CALLBACKS if row.kind.__name__[0] != "_"]
    return list(dict.fromkeys([value for value in values if issubclass(value, lightning.Callback)] + rows))


def make_context(folder: Path, **sections: dict[str, Any]) -> RunContext:
    config = Config.model_validate(sections)
    return RunContext(RunFolder(folder), config, Terminal(quiet=True), StopRequests(), Trackers())


def make_callback(kind: type[lightning.Callback], folder: Path) -> lightning.Callback:
    if kind in MAKERS:
        return MAKERS[kind](folder)
    (row,) = [row for row in CALLBACKS if row.kind is kind]
    return row.build(make_context(folder))


each = pytest.mark.parametrize("kind", all_callbacks(), ids=lambda kind: kind.__name__)


class Foreign(lightning.LightningModule):
    """Somebody else's module: no configuration, no classes, no preprocessing of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(256, NUM_CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch["images"]), batch["labels"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log("val/top1", (self(batch["images"]).argmax(1) == batch["labels"]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def fitted(kind: type[lightning.Callback], folder: Path) -> tuple[lightning.Callback, lightning.Trainer]:
    callback = make_callback(kind, folder)
    trainer = make_trainer(folder, callback, enable_checkpointing=isinstance(callback, RunCheckpoint), max_epochs=2)
    trainer.fit(Foreign(), make_loader(3), make_loader(2))
    return callback, trainer


def test_the_table_has_every_callback_of_every_file() -> None:
    in_table = {row.kind for row in CALLBACKS}
    modules = [
        importlib.import_module(f"{callbacks.__name__}.{module.name}")
        for module in pkgutil.iter_modules(callbacks.__path__)
        if module.name not in SHARED
    ]
    assert modules
    for module in modules:
        classes = {
            value
            for name, value in inspect.getmembers(module, inspect.isclass)
            if value.__module__ == module.__name__ and issubclass(value, lightning.Callback) and name[0] != "_"
        }
        assert classes, f"{module.__name__} holds no callback; it belongs elsewhere"
        missing = {kind.__name__ for kind in classes - in_table - NOT_IN_A_RUN}
        assert not missing, f"add a row for {missing} to CALLBACKS in callbacks/table.py"


def test_every_row_of_the_table_builds_its_callback(tmp_path: Path) -> None:
    trainer = {
        "early_stopping_patience": 3,
        "time_limit": "1h",
        "gradient_clip_algorithm": "agc",
        "gradient_clip_val": 0.02,
    }
    context = make_context(tmp_path, trainer=trainer)
    built = build_callbacks(context)
    assert [type(callback) for callback in built] == [row.kind for row in CALLBACKS]
    assert not list(tmp_path.iterdir())


def test_a_run_has_the_callbacks_of_its_settings(tmp_path: Path) -> None:
    context = make_context(tmp_path, ema={"enabled": False}, report={"enabled": False})
    built = {type(callback) for callback in build_callbacks(context)}
    assert built == {
        Throughput, MetricsCSV, TrainingProgress, GracefulStop, LossWatch, CacheWarnings, TrackingCallback,
        RunCheckpoint, BatchPosition, MemoryTrial,
    }  # fmt: skip


def test_every_public_callback_is_tested_alone() -> None:
    public = [getattr(callbacks, name) for name in callbacks.__all__]
    missing = [kind.__name__ for kind in public if issubclass(kind, lightning.Callback) and kind not in MAKERS]
    assert not missing, f"add {missing} to MAKERS in this file"


@each
def test_it_is_documented_with_every_argument(kind: type[lightning.Callback]) -> None:
    text = inspect.getdoc(kind) or ""
    assert text.splitlines()[0].endswith(".")
    arguments = [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
    undocumented = [name for name in arguments if f"    {name}: " not in text]
    assert not undocumented


@each
def test_making_it_touches_no_disk(kind: type[lightning.Callback], tmp_path: Path) -> None:
    make_callback(kind, tmp_path)
    assert not list(tmp_path.iterdir())


@each
def test_it_works_in_anybodys_trainer(kind: type[lightning.Callback], tmp_path: Path) -> None:
    _, trainer = fitted(kind, tmp_path)
    assert trainer.global_step == 6


@each
def test_its_state_is_plain_and_makes_a_new_one_the_same(kind: type[lightning.Callback], tmp_path: Path) -> None:
    callback, _ = fitted(kind, tmp_path)
    state = callback.state_dict()
    assert json.loads(json.dumps(state)) == state
    again = make_callback(kind, tmp_path)
    again.load_state_dict(state)
    own = {"process": ""}  # a time limit tells the seconds of its own process from those before
    assert again.state_dict() | own == state | own


@each
def test_its_checkpoint_holds_nothing_but_plain_values_and_tensors(
    kind: type[lightning.Callback], tmp_path: Path
) -> None:
    _, trainer = fitted(kind, tmp_path)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    content = torch.load(tmp_path / "one.ckpt", weights_only=True)
    assert content["global_step"] == 6


@each
def test_two_runs_with_the_same_callback_do_not_disturb_each_other(
    kind: type[lightning.Callback], tmp_path: Path
) -> None:
    callback = make_callback(kind, tmp_path)
    for _ in range(2):
        checkpointing = isinstance(callback, RunCheckpoint)
        trainer = make_trainer(tmp_path, callback, enable_checkpointing=checkpointing)
        trainer.fit(Foreign(), make_loader(3), make_loader(2))
        assert trainer.global_step == 3


def without_a_terminal() -> list[type[lightning.Callback]]:
    """Others belong to their process and are not meant to be pickled."""
    built = {kind: make_callback(kind, Path("unused")) for kind in all_callbacks()}
    return [kind for kind, one in built.items() if not any(isinstance(value, Terminal) for value in vars(one).values())]


@pytest.mark.parametrize("kind", without_a_terminal(), ids=lambda kind: kind.__name__)
def test_it_pickles(kind: type[lightning.Callback], tmp_path: Path) -> None:
    callback = make_callback(kind, tmp_path)
    file = io.BytesIO()
    pickle.dump(callback, file)
    file.seek(0)
    again: Any = pickle.load(file)  # noqa: S301 - what this test has just written
    assert again.state_dict() == callback.state_dict()
    assert vars(again).keys() == vars(callback).keys()
