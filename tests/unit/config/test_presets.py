from __future__ import annotations

import pytest
import timm

from classifier_training.config import Config, load_config
from classifier_training.config.compose import read_preset
from classifier_training.config.options import PRESETS, preset_names

NAMES = preset_names("model")


def test_the_promised_presets_are_there() -> None:
    promised = {"resnet18", "resnet50", "mobilenetv3_large_100", "efficientnet_b0", "tf_efficientnet_lite0"}
    assert promised | {"convnext_tiny", "vit_small_patch16_224", "resnet10t"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_valid_and_named_after_its_backbone(name: str) -> None:
    assert load_config([f"model={name}"]).model.name == name


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_sets_only_what_differs_from_the_defaults(name: str) -> None:
    content = read_preset(name)
    defaults = Config().model_dump()
    same = [
        setting.key
        for setting in content.settings
        if defaults[setting.key.partition(".")[0]][setting.key.partition(".")[2]] == setting.value
    ]
    assert set(same) <= {"model.name"}
    assert content.faults == []


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_leaves_the_source_of_the_weights_to_the_user(name: str) -> None:
    assert not {"model.pretrained", "model.weights"} & {setting.key for setting in read_preset(name).settings}


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_opens_with_its_command_and_its_purpose(name: str) -> None:
    comments = [line for line in (PRESETS / "model" / f"{name}.yaml").read_text().splitlines() if line[:1] == "#"]
    assert comments[0] == "# @package _global_"
    assert any(f"classifier-training train PHOTOS model={name} " in line for line in comments)
    assert any("photos" in line for line in comments)


@pytest.mark.parametrize("name", NAMES)
def test_timm_knows_the_backbone_and_has_weights_for_it(name: str) -> None:
    assert timm.is_model(name)
    assert timm.is_model_pretrained(name)
