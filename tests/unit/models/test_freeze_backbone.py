from __future__ import annotations

import contextlib
import io
import pickle
from pathlib import Path
from typing import Any, cast

import lightning
import pytest
import torch
from tests.helpers.training import (
    LIGHTNING_NOTICES,
    KillAfter,
    KilledError,
    assert_same,
    make_loader,
    make_model,
    make_trainer,
    snapshot,
)
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.errors import ConfigError
from classifier_training.models.backbone import backbone_stages, count_stages, head_parameters
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.freeze_backbone import FreezeBackbone

pytestmark = LIGHTNING_NOTICES
HEAD = {"fc.weight", "fc.bias"}


class Snapshots(lightning.Callback):
    """The backbone's state after every epoch, and whether its BatchNorm layers were in training mode."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.norm_modes: list[bool] = []

    def on_train_start(self, trainer: Any, pl_module: lightning.LightningModule) -> None:
        self.states.append(snapshot(cast("BaseClassificationModel", pl_module).backbone))

    def on_train_batch_start(self, trainer: Any, pl_module: lightning.LightningModule, *arguments: Any) -> None:
        self.norm_modes += [module.training for module in pl_module.modules() if isinstance(module, _BatchNorm)]

    def on_train_epoch_end(self, trainer: Any, pl_module: lightning.LightningModule) -> None:
        self.states.append(snapshot(cast("BaseClassificationModel", pl_module).backbone))


def body(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key not in HEAD}


def changed(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    return {key for key, value in one.items() if not torch.equal(value, other[key])}


def fit(model: lightning.LightningModule, folder: Path, *callbacks: lightning.Callback, **options: Any) -> Any:
    trainer = make_trainer(folder, *callbacks, **options)
    trainer.fit(model, make_loader(3), make_loader(1))
    return trainer


def test_a_frozen_backbone_does_not_change_and_is_unfrozen_after(tmp_path: Path) -> None:
    model = make_model(model={"freeze_epochs": 2}, optimizer={"lr": 1e-2})
    seen = Snapshots()
    fit(model, tmp_path, seen, max_epochs=3)
    start, first, second, third = seen.states
    assert_same(body(second), body(start))
    assert changed(start, first) == HEAD
    assert changed(second, third) >= {"conv1.0.weight", "bn1.weight", "bn1.running_mean"} | HEAD


def test_a_frozen_backbone_stays_frozen_when_an_epoch_is_resumed_in_its_middle(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model": {"freeze_epochs": 2, "freeze_norm_stats": True}, "optimizer": {"lr": 1e-2}}
    before = make_model(**settings)
    trainer = make_trainer(tmp_path, RunCheckpoint(tmp_path, every_n_steps=1), KillAfter(2), enable_checkpointing=True)
    with pytest.raises(KilledError):
        trainer.fit(before, make_loader(4), make_loader(1))
    after, seen = make_model(**settings), Snapshots()
    trainer = make_trainer(tmp_path, seen, RunCheckpoint(tmp_path), enable_checkpointing=True)
    trainer.fit(after, make_loader(4), make_loader(1), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert trainer.global_step == 4
    assert changed(seen.states[0], seen.states[1]) == HEAD
    assert not any(seen.norm_modes)


def free(model: BaseClassificationModel) -> set[str]:
    return {name for name, parameter in model.backbone.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("callbacks", [[], [KillAfter(1)]], ids=["ended", "killed"])
def test_a_second_fit_of_a_frozen_model_trains_all_of_it(tmp_path: Path, callbacks: list[lightning.Callback]) -> None:
    model = make_model(model={"freeze_epochs": 1}, optimizer={"lr": 1e-2})
    parameters = dict(model.backbone.named_parameters())
    with pytest.raises(KilledError) if callbacks else contextlib.nullcontext():
        fit(model, tmp_path, *callbacks)
    assert free(model) == set(parameters)
    assert all(module.training for module in model.modules())

    seen = Snapshots()
    trainer = fit(model, tmp_path, seen, max_epochs=2)

    assert sum(len(group["params"]) for group in trainer.optimizers[0].param_groups) == len(parameters)
    assert changed(seen.states[0], seen.states[1]) == HEAD
    assert changed(seen.states[1], seen.states[2]) >= set(parameters)


def test_what_somebody_else_has_frozen_stays_frozen(tmp_path: Path) -> None:
    model = make_model(model={"freeze_epochs": 1}, optimizer={"lr": 1e-2})
    model.backbone.get_parameter("conv1.0.weight").requires_grad_(False)
    before = free(model)
    seen = Snapshots()
    fit(model, tmp_path, seen, max_epochs=2)
    assert free(model) == before
    assert "conv1.0.weight" not in changed(seen.states[0], seen.states[2])


class Modes(lightning.Callback):
    """The dropout layers that are on, and the share of the head's inputs that were dropped."""

    def __init__(self) -> None:
        self.on: set[str] = set()
        self.dropped = 0.0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *arguments: Any) -> None:
        modules = pl_module.backbone.named_modules()
        self.on = {name for name, module in modules if isinstance(module, nn.Dropout) and module.training}
        heads = pl_module.backbone.get_classifier()

        def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if torch.is_grad_enabled():
                self.dropped = float((inputs[0] == 0).float().mean())

        heads.register_forward_pre_hook(note)


@pytest.mark.parametrize(
    ("backbone", "on"),
    [("test_resnet", set()), ("test_vit", {"head_drop"}), ("test_convnext", {"head.drop"})],
)
def test_the_dropout_of_the_head_is_on_while_the_backbone_is_frozen(
    tmp_path: Path, backbone: str, on: set[str]
) -> None:
    model = make_model(backbone, model={"freeze_epochs": 1, "drop_rate": 0.9})
    others = [module for module in model.backbone.modules() if isinstance(module, nn.Dropout)]
    seen = Modes()
    fit(model, tmp_path, seen)
    assert seen.on == on
    assert len(others) > len(on) or not on
    assert seen.dropped > 0.7


@pytest.mark.parametrize("kept", [True, False])
def test_norm_statistics_can_be_kept(tmp_path: Path, kept: bool) -> None:
    model = make_model(model={"freeze_norm_stats": kept})
    seen = Snapshots()
    fit(model, tmp_path, seen, max_epochs=2)
    start, end = seen.states[0], seen.states[-1]
    moved = {key for key in changed(start, end) if "running" in key or "num_batches" in key}
    assert bool(moved) is not kept
    assert "bn1.weight" in changed(start, end)
    assert set(seen.norm_modes) == {not kept}


def test_a_model_outside_of_a_trainer_trains_as_a_whole() -> None:
    model = make_model(model={"freeze_epochs": 2})
    assert model.eval().train().backbone.training


class Foreign(lightning.LightningModule):
    """Somebody else's module around a backbone of timm."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.backbone(batch["images"]), batch["labels"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-2)


def test_it_works_in_anybodys_trainer(tmp_path: Path) -> None:
    seen = Snapshots()
    module = Foreign(make_model().backbone)
    fit(module, tmp_path, FreezeBackbone(1, keep_norm_stats=True), seen, max_epochs=2)
    start, first, second = seen.states
    assert changed(start, first) == HEAD
    assert "conv1.0.weight" in changed(first, second)
    assert not any("running" in key for key in changed(start, second))


def test_a_module_without_a_backbone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Foreign has no attribute `backbone` with a method `get_classifier`"):
        fit(Foreign(nn.Linear(2, 2)), tmp_path, FreezeBackbone(1))


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="epochs=-1; allowed are 0, 1, 2"):
        FreezeBackbone(-1)
    with pytest.raises(ConfigError, match="stages=-1; allowed are 0, 1, 2"):
        FreezeBackbone(stages=-1)


def test_the_first_stages_stay_frozen_in_all_epochs_and_are_in_evaluation_mode(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"freeze_stages": 2, "freeze_epochs": 1, "drop_path_rate": 0.5}
    model = make_model(model=settings, optimizer={"lr": 1e-2})
    seen = Snapshots()
    modes: dict[str, bool] = {}

    class Look(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *arguments: Any) -> None:
            modes.update((name, module.training) for name, module in pl_module.backbone.named_modules())

    fit(model, tmp_path, seen, Look(), max_epochs=3)

    moved = changed(seen.states[0], seen.states[-1])
    assert moved
    assert not any(key.startswith(("conv1", "bn1", "layer1")) for key in moved)
    assert {"layer2.0.conv1.weight", "layer2.0.bn1.running_mean", "layer4.0.conv1.weight"} | HEAD <= moved
    assert not any(modes[name] for name in modes if name.startswith(("conv1", "bn1", "layer1")))
    assert modes["layer2"]
    assert free(model) == set(dict(model.backbone.named_parameters()))


@pytest.mark.parametrize("name", ["resnet10t", "test_efficientnet", "test_vit", "test_convnext"])
def test_stages_are_all_parameters_from_the_stem_on_but_the_head(name: str) -> None:
    backbone = make_model(name).backbone
    stages = backbone_stages(backbone)
    known = [id(parameter) for stage in stages for parameter in stage]
    assert len(stages) == count_stages(name) > 3
    assert len(set(known)) == len(known)
    assert not set(known) & {id(parameter) for parameter in head_parameters(backbone)}
    assert known[0] in {id(parameter) for parameter in list(backbone.parameters())[:3]}


def test_more_stages_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stages=9; ResNet has 5, the stem counted as one"):
        fit(make_model(), tmp_path, FreezeBackbone(stages=9))


def test_the_trainers_own_acts_where_the_model_asks_for_none(tmp_path: Path) -> None:
    model = make_model(optimizer={"lr": 1e-2})
    seen = Snapshots()

    fit(model, tmp_path, FreezeBackbone(1), seen, max_epochs=1)

    start, end = seen.states
    assert changed(start, end) == HEAD


def test_a_model_brings_its_own_once_into_any_trainer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = fit(make_model(model={"freeze_epochs": 2}), tmp_path)
    trainer.validate(make_model(model={"freeze_epochs": 2}), make_loader(1), verbose=False)
    assert [type(one) for one in trainer.callbacks].count(FreezeBackbone) == 1
    assert "override" not in caplog.text
    trainer.fit(make_model(model={"freeze_epochs": 3}), make_loader(1), make_loader(1))
    assert [one.epochs for one in trainer.callbacks if isinstance(one, FreezeBackbone)] == [3]


def test_the_optimizer_knows_all_parameters_from_the_first_epoch_on(tmp_path: Path) -> None:
    frozen, free = (fit(make_model(model={"freeze_epochs": epochs}), tmp_path) for epochs in (1, 0))
    names = [[group["name"] for group in trainer.optimizers[0].param_groups] for trainer in (frozen, free)]
    counts = [[len(group["params"]) for group in trainer.optimizers[0].param_groups] for trainer in (frozen, free)]
    assert names[0] == names[1]
    assert counts[0] == counts[1]


def test_a_checkpoint_has_no_state_of_it_and_it_pickles(tmp_path: Path) -> None:
    trainer = fit(make_model(model={"freeze_epochs": 1}), tmp_path)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    assert torch.load(tmp_path / "one.ckpt", weights_only=True)["callbacks"] == {}
    file = io.BytesIO()
    pickle.dump(FreezeBackbone(3, keep_norm_stats=True), file)
    file.seek(0)
    again = pickle.load(file)  # noqa: S301 - what this test has just written
    assert (again.epochs, again.keep_norm_stats) == (3, True)
