"""BatchNorm over all devices, as far as a CPU can tell: logits, classes and tensors before, during and after."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import lightning
import pytest
import timm
import torch
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from tests.helpers.training import LIGHTNING_NOTICES, ConvertingStrategy, make_loader, make_model, make_trainer
from timm.layers.norm_act import SyncBatchNormAct, convert_sync_batchnorm
from timm.layers.split_batchnorm import SplitBatchNorm2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

from classifier_training.config import load_config
from classifier_training.config.preset_groups import backbone_presets
from classifier_training.errors import ConfigError
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.layer_sync import BatchNormSync

pytestmark = LIGHTNING_NOTICES
FAMILIES = {
    "BatchNormAct2d, SiLU, squeeze-and-excitation": "test_efficientnet",
    "BatchNormAct2d, h-swish": "mobilenetv3_small_050",
    "BatchNormAct2d in dense blocks": "densenet121",
    "BatchNormAct2d without an activation": "regnetx_002",
    "BatchNormAct2d with eps of its own": "inception_v3",
    "BatchNormAct2d of ByobNet": "test_byobnet",
    "BatchNorm in branches": "repvgg_a0",
    "BatchNorm1d": "levit_128s",
    "EvoNorm": "resnetv2_50d_evos",
    "FilterResponseNorm": "resnetv2_50d_frn",
    "GroupNormAct": "resnetv2_50d_gn",
    "GroupNorm": "resnet50_gn",
    "LayerNorm of images": "test_convnext",
    "LayerNorm": "test_vit",
}
"""One backbone each for what timm has in the place of a norm."""


by_torch = cast("Any", nn.SyncBatchNorm.convert_sync_batchnorm)


def randomize(model: nn.Module) -> nn.Module:
    """As after some training: statistics and scales that are not those of the beginning."""
    for layer in model.modules():
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None:
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    return model.eval()


def tensors(model: nn.Module) -> dict[str, int]:
    return {name: id(value) for name, value in [*model.named_parameters(), *model.named_buffers()]}


def kinds(model: nn.Module) -> dict[str, type[nn.Module]]:
    return {name: type(layer) for name, layer in model.named_modules(remove_duplicate=False)}


def assert_sync_changes_nothing(model: nn.Module, images: Tensor) -> None:
    """Also that every layer stays the object that it was, which a hook or a list may hold."""
    layers, before, held = dict(model.named_modules()), kinds(model), tensors(model)
    keys = list(model.state_dict())
    with torch.inference_mode():
        expected = model(images)
        synced = BatchNormSync().apply(model)
        assert torch.equal(synced(images), expected)
        assert torch.equal(copy.deepcopy(synced)(images), expected)
        left = [layer for layer in synced.modules() if isinstance(layer, _BatchNorm)]
        assert all(isinstance(layer, SyncBatchNorm) for layer in left)
        assert list(synced.state_dict()) == keys
        assert tensors(synced) == held
        reverted = BatchNormSync().revert(synced)
        assert torch.equal(reverted(images), expected)
    assert kinds(reverted) == before
    assert tensors(reverted) == held
    assert dict(reverted.named_modules()) == layers


@pytest.mark.parametrize("name", backbone_presets())
def test_every_preset_computes_the_same_before_during_and_after(name: str) -> None:
    torch.manual_seed(0)
    backbone = load_config([f"model={name}"]).model.name
    model = BaseClassificationModel(backbone, 3, image_size=64)
    assert_sync_changes_nothing(randomize(model), torch.randn(2, 3, 64, 64))


@pytest.mark.parametrize("name", FAMILIES.values(), ids=FAMILIES.keys())
def test_every_family_of_norms_computes_the_same_before_during_and_after(name: str) -> None:
    torch.manual_seed(0)
    side = {"inception_v3": 96, "levit_128s": 224, "test_vit": 160}.get(name, 64)
    assert_sync_changes_nothing(randomize(timm.create_model(name, num_classes=3)), torch.randn(2, 3, side, side))


def test_what_torch_would_have_made_of_it_is_another_model() -> None:
    """The fault that this is about, so that the tests above are known to see it."""
    model, images = randomize(make_model("test_efficientnet")), torch.randn(2, 3, 32, 32)
    expected = model(images)
    assert not torch.allclose(by_torch(model)(images), expected, atol=0.01)


def test_layers_that_are_shared_and_hooked_stay_so() -> None:
    norm, seen = nn.BatchNorm2d(3), []
    model = nn.ModuleDict({"one": norm, "again": norm, "below": nn.Sequential(norm)})
    norm.register_forward_hook(lambda *_: seen.append(1))
    BatchNormSync().apply(model)
    assert model["one"] is model["again"] is model["below"][0] is norm  # type: ignore[index]  # a Sequential
    assert type(norm) is SyncBatchNorm
    norm.eval()(torch.zeros(1, 3, 2, 2))
    BatchNormSync().revert(model)
    norm(torch.zeros(1, 3, 2, 2))
    assert type(norm) is nn.BatchNorm2d  # type: ignore[comparison-overlap]  # it has been given back
    assert seen == [1, 1]


def test_what_was_synchronised_before_is_left_so() -> None:
    model = nn.Sequential(SyncBatchNorm(2), nn.BatchNorm1d(2))
    BatchNormSync().revert(BatchNormSync().apply(model))
    assert [type(layer) for layer in model] == [SyncBatchNorm, nn.BatchNorm1d]


def test_a_layer_that_computes_something_of_its_own_is_left_with_a_warning() -> None:
    model = nn.Sequential(cast("Any", SplitBatchNorm2d)(4, num_splits=2), nn.BatchNorm2d(4))
    with pytest.warns(UserWarning, match="statistics of SplitBatchNorm2d stay those of each device"):
        BatchNormSync().apply(model)
    assert isinstance(model[0], SplitBatchNorm2d)
    assert type(model[1]) is SyncBatchNorm


class Layers(lightning.Callback):
    """The classes of the norms while a model is trained."""

    def __init__(self) -> None:
        self.seen: set[type[nn.Module]] = set()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.seen = {type(layer) for layer in pl_module.modules() if isinstance(layer, _BatchNorm)}


def test_it_also_replaces_lightnings_own_in_anybodys_trainer(tmp_path: Path) -> None:
    layers, model = Layers(), make_model("test_efficientnet")
    before = kinds(model)
    trainer = make_trainer(tmp_path, layers, strategy=ConvertingStrategy(), sync_batchnorm=True)
    assert isinstance(cast("Any", trainer.strategy)._layer_sync, TorchSyncBatchNorm)
    trainer.fit(model, make_loader(1), make_loader(1))
    assert layers.seen == {SyncBatchNormAct}
    assert kinds(model) == before


def test_a_model_that_has_lost_activations_is_refused(tmp_path: Path) -> None:
    model = make_model("test_efficientnet")
    model.backbone = by_torch(model.backbone)
    with pytest.raises(ConfigError, match=r"lost their activation, the first is bn1, now a SyncBatchNorm: .*timm"):
        make_trainer(tmp_path).validate(model, make_loader(1), verbose=False)


def test_a_model_that_was_converted_by_timm_is_taken(tmp_path: Path) -> None:
    model = make_model("test_efficientnet")
    model.backbone = cast("Any", convert_sync_batchnorm)(model.backbone)
    make_trainer(tmp_path).validate(model, make_loader(1), verbose=False)
