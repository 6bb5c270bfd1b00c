from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.optim import list_optimizers, param_groups_layer_decay  # type: ignore[attr-defined]  # public, but not in its __all__
from torch import nn

from classifier_training.config.schema import OptimizerConfig
from classifier_training.errors import ConfigError
from classifier_training.models.backbone import head_parameters
from classifier_training.models.optim import build_optimizer
from classifier_training.models.parameter_groups import parameter_groups


def groups_by_parameter(
    name: str, scale: float = 0.1, layer_decay: float | None = None
) -> tuple[nn.Module, dict[str, dict[str, Any]]]:
    model = timm.create_model(name, num_classes=3)
    config = OptimizerConfig(lr=1.0, weight_decay=0.05, layer_decay=layer_decay)
    groups = parameter_groups(model, head_parameters(model), config, scale)
    found = {id(parameter): group for group in groups for parameter in group["params"]}
    assert len(found) == sum(len(group["params"]) for group in groups), "a parameter is in two groups"
    return model, {key: found[id(parameter)] for key, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", ["resnet10t", "test_vit", "tf_efficientnet_lite0", "convnext_atto"])
def test_norms_and_biases_get_no_weight_decay(name: str) -> None:
    model, groups = groups_by_parameter(name)
    norms = {
        f"{path}.{key}"
        for path, module in model.named_modules()
        if "norm" in type(module).__name__.lower()
        for key, _ in module.named_parameters(recurse=False)
    }
    assert norms
    decayed = {key for key, group in groups.items() if group["weight_decay"] > 0}
    assert not decayed & norms
    assert not [key for key in decayed if key.endswith("bias")]
    modules = dict(model.named_modules())
    weights = {f"{path}.weight" for path, module in modules.items() if isinstance(module, nn.Linear | nn.Conv2d)}
    assert weights <= decayed


def test_what_the_backbone_excludes_gets_no_weight_decay() -> None:
    _, groups = groups_by_parameter("vit_tiny_patch16_224")
    assert groups["pos_embed"]["weight_decay"] == 0.0
    assert groups["cls_token"]["weight_decay"] == 0.0


@pytest.mark.parametrize(("name", "head"), [("resnet10t", "fc"), ("vit_tiny_patch16_224", "head")])
def test_the_head_learns_faster_than_the_backbone(name: str, head: str) -> None:
    _, groups = groups_by_parameter(name, scale=0.1)
    rates = {key: group["lr"] for key, group in groups.items()}
    assert {key for key, rate in rates.items() if rate == 1.0} == {f"{head}.weight", f"{head}.bias"}
    assert {rate for key, rate in rates.items() if not key.startswith(f"{head}.")} == {0.1}


def test_both_heads_of_a_distilled_model_are_heads() -> None:
    _, groups = groups_by_parameter("deit_tiny_distilled_patch16_224")
    fast = {key for key, group in groups.items() if group["lr"] == 1.0}
    assert fast == {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("resnet10t", "conv1.0.weight", "layer4.0.conv2.weight"),
        ("resnet18", "conv1.weight", "layer4.1.conv2.weight"),
        ("tf_efficientnet_lite0", "conv_stem.weight", "conv_head.weight"),
        ("efficientnet_b0", "conv_stem.weight", "conv_head.weight"),
        ("mobilenetv3_small_050", "conv_stem.weight", "blocks.5.0.conv.weight"),
        ("convnext_atto", "stem.0.weight", "stages.3.blocks.1.mlp.fc2.weight"),
        ("vit_tiny_patch16_224", "pos_embed", "blocks.11.mlp.fc2.weight"),
    ],
)
def test_layers_learn_the_slower_the_farther_they_are_from_the_head(name: str, first: str, last: str) -> None:
    model, groups = groups_by_parameter(name, scale=1.0, layer_decay=0.5)
    timms = param_groups_layer_decay(model, layer_decay=0.5)
    expected = {id(value): group["lr_scale"] for group in timms for value in group["params"]}
    head = {id(value) for value in head_parameters(model)}
    named = dict(model.named_parameters())
    assert {key: group["lr"] for key, group in groups.items()} == pytest.approx(
        {key: expected[id(value)] for key, value in named.items()}
    )
    assert all(groups[key]["lr"] == 1.0 for key, value in named.items() if id(value) in head)
    assert groups[first]["lr"] == min(group["lr"] for group in groups.values())
    assert groups[first]["lr"] < groups[last]["lr"] < 1.0
    without = groups_by_parameter(name, scale=1.0)[1]
    assert {key: group["weight_decay"] for key, group in groups.items()} == {
        key: group["weight_decay"] for key, group in without.items()
    }


def test_the_backbone_s_share_and_layer_decay_are_multiplied() -> None:
    groups = groups_by_parameter("resnet18", scale=0.25, layer_decay=0.5)[1]
    rates = {key: groups[key]["lr"] for key in ("fc.weight", "layer4.1.conv2.weight", "layer4.0.conv2.weight")}
    assert rates == {"fc.weight": 1.0, "layer4.1.conv2.weight": 0.125, "layer4.0.conv2.weight": 0.0625}
    names = [group["name"] for group in {id(group): group for group in groups.values()}.values()]
    assert len(set(names)) == len(names)
    assert {"head, decay 0.05", "backbone, 1 layers below the head, decay 0.05"} <= set(names)


def test_a_backbone_without_layers_has_no_layer_decay() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"optimizer\.layer_decay: timm knows no layers of Sequential; leave"):
        parameter_groups(model, model[1].parameters(), OptimizerConfig(layer_decay=0.5), 1.0)


@pytest.mark.skipif("muon" not in list_optimizers(), reason="timm before 1.0.21 has no Muon")
@pytest.mark.parametrize(
    ("name", "outer"),
    [
        ("resnet10t", {"conv1.0.weight", "fc.weight"}),
        ("tf_efficientnet_lite0", {"conv_stem.weight", "classifier.weight"}),
        ("convnext_atto", {"stem.0.weight", "head.fc.weight"}),
        ("vit_tiny_patch16_224", {"pos_embed", "cls_token", "patch_embed.proj.weight", "head.weight"}),
    ],
)
def test_muon_is_for_hidden_weights(name: str, outer: set[str]) -> None:
    model = timm.create_model(name, num_classes=8)
    config = OptimizerConfig(name="nmuon", layer_decay=0.9)
    groups = parameter_groups(model, head_parameters(model), config, 1.0)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    assert len({group["name"] for group in groups}) == len(groups)
    optimizer = build_optimizer(groups, config)
    for value in model.parameters():
        value.grad = torch.ones_like(value)
    optimizer.step()
    chosen = {key: optimizer.state[value]["use_muon"] for key, value in model.named_parameters()}
    assert not [key for key, is_muon in chosen.items() if is_muon and key in outer]
    assert not [key for key, value in model.named_parameters() if chosen[key] and value.ndim < 2]
    hidden = {key for key, value in model.named_parameters() if value.ndim >= 2} - outer
    assert len([key for key in hidden if chosen[key]]) > len(hidden) / 2  # depthwise convolutions are too narrow
