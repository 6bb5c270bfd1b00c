from __future__ import annotations

from typing import Any, cast

import pytest
import timm
import torch
from timm.data.config import resolve_data_config
from torch import nn

from classifier_training.config.preset_groups import backbone_presets
from classifier_training.errors import ModelError
from classifier_training.models.backbone import (
    backbone_preprocessing,
    check_backbone_name,
    create_backbone,
    head_parameters,
    pretrained_config,
)
from classifier_training.types import Preprocessing


@pytest.mark.parametrize("name", [*backbone_presets(), "inception_v3", "beit_base_patch16_224", "mnasnet_small"])
def test_preprocessing_is_that_of_timm(name: str) -> None:
    with torch.device("meta"):
        expected = cast("Any", resolve_data_config)({}, model=timm.create_model(name))
    prepared = backbone_preprocessing(name)
    assert prepared.image_size == expected["input_size"][1] == expected["input_size"][2]
    assert prepared.crop_pct == expected["crop_pct"]
    assert prepared.interpolation == expected["interpolation"]
    assert (prepared.mean, prepared.std) == (expected["mean"], expected["std"])


def test_backbones_really_differ_in_their_preprocessing() -> None:
    assert backbone_preprocessing("tf_efficientnet_lite0").mean == (0.5, 0.5, 0.5)
    assert backbone_preprocessing("resnet50").mean == (0.485, 0.456, 0.406)


def test_size_and_crop_can_be_chosen() -> None:
    own = backbone_preprocessing("resnet50")
    chosen = backbone_preprocessing("resnet50", image_size=96, crop_pct=1.0)
    assert chosen == Preprocessing(96, 1.0, own.interpolation, own.mean, own.std)


def test_a_greyscale_configuration_counts_for_all_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**pretrained_config("test_resnet"), "mean": (0.1,), "std": (0.2,)}
    monkeypatch.setattr("classifier_training.models.backbone.pretrained_config", lambda name: config)
    prepared = backbone_preprocessing("test_resnet")
    assert (prepared.mean, prepared.std) == ((0.1, 0.1, 0.1), (0.2, 0.2, 0.2))


@pytest.mark.parametrize(
    ("name", "near"), [("resnet5O", "resnet50"), ("ResNet18", "resnet18"), ("vit_smal", "vit_small")]
)
def test_an_unknown_backbone_is_answered_with_near_names(name: str, near: str) -> None:
    with pytest.raises(ModelError, match=rf"model\.name='{name}' is not a timm model; did you mean .*{near}") as caught:
        check_backbone_name(name)
    assert "\n" not in str(caught.value)


def test_a_name_like_no_other_is_answered_with_where_to_look() -> None:
    with pytest.raises(ModelError, match=r"timm\.list_models\(\)"):
        create_backbone("§§§", 2, 32)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
@pytest.mark.parametrize("image_size", [32, 64])
def test_a_backbone_takes_its_image_size_and_gives_k_logits(name: str, image_size: int) -> None:
    backbone = create_backbone(name, 7, image_size)
    assert backbone.training
    assert backbone(torch.zeros(2, 3, image_size, image_size)).shape == (2, 7)


def test_a_size_that_patches_do_not_divide_is_refused_with_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"data\.image_size=225 is not a multiple of the patch size 16 .*224 or 240"):
        create_backbone("vit_tiny_patch16_224", 2, 225)


def test_a_size_below_the_patch_is_refused() -> None:
    with pytest.raises(ModelError, match=r"image_size=8 is not a multiple of the patch size 16 .*nearest: 16"):
        create_backbone("vit_tiny_patch16_224", 2, 8)


def test_a_size_that_pooling_uses_up_is_refused() -> None:
    with pytest.raises(ModelError, match=r"vgg11 refuses data\.image_size=16 .*its own size is 224") as caught:
        create_backbone("vgg11", 2, 16)
    assert "\n" not in str(caught.value)


def test_drop_rates_reach_the_backbone() -> None:
    backbone: Any = create_backbone("test_resnet", 2, 32, drop_rate=0.3, drop_path_rate=0.2)
    assert backbone.drop_rate == 0.3
    plain = create_backbone("test_resnet", 2, 32)
    assert {type(module).__name__ for module in backbone.modules()} - {type(m).__name__ for m in plain.modules()}


def test_a_setting_that_the_backbone_does_not_know_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"vgg11 does not take a setting.*drop_path_rate") as caught:
        create_backbone("vgg11", 2, 64, drop_path_rate=0.1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("test_resnet", [(3, 96), (3,)]),
        ("deit_tiny_distilled_patch16_224", [(3, 192), (3,), (3, 192), (3,)]),
    ],
)
def test_head_parameters_are_those_of_every_classifier(name: str, shapes: list[tuple[int, ...]]) -> None:
    model = timm.create_model(name, num_classes=3)
    parameters = head_parameters(model)
    assert [tuple(parameter.shape) for parameter in parameters] == shapes
    assert all(isinstance(parameter, nn.Parameter) for parameter in parameters)
