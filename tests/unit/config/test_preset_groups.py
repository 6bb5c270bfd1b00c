from __future__ import annotations

import re

import pytest
import timm

from classifier_training.config import Config, load_config
from classifier_training.config.compose import read_preset
from classifier_training.config.preset_groups import (
    PRESET_GROUPS,
    PRESETS,
    backbone_presets,
    preset_file,
    preset_names,
    presets,
)
from classifier_training.config.schema import ModelConfig, OptimizerConfig

NAMES = backbone_presets()
EVERY = [(preset.group, preset.name) for preset in presets()]


def test_every_folder_is_a_group_and_every_file_a_preset() -> None:
    assert sorted(PRESET_GROUPS) == sorted(path.name for path in PRESETS.iterdir())
    assert {(path.parent.name, path.stem) for path in PRESETS.rglob("*.*")} == set(EVERY)
    assert [preset.name for preset in presets() if preset.group == "model"] == preset_names("model")


def test_the_summary_is_the_first_sentence_of_the_leading_comment() -> None:
    summaries = {(preset.group, preset.name): preset.summary for preset in presets()}
    assert summaries["model", "resnet18"] == "A small, forgiving ResNet: the first thing to try, fast on every device."
    assert all(summary.endswith(".") and 20 < len(summary) < 110 for summary in summaries.values())


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_every_preset_is_valid(group: str, name: str) -> None:
    assert read_preset(group, name).faults == ()
    load_config([f"{group}={name}"])


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_a_preset_opens_with_its_command_and_its_purpose(group: str, name: str) -> None:
    comments = [line for line in preset_file(group, name).read_text().splitlines() if line[:1] == "#"]
    assert any(f"classifier-training train PHOTOS {group}={name}" in line for line in comments)
    assert any("photos" in line for line in comments)


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_a_preset_states_what_it_reached_or_that_nobody_measured_it(group: str, name: str) -> None:
    comments = [line for line in preset_file(group, name).read_text().splitlines() if line[:1] == "#"]
    stated = dict(re.findall(r"^# (Data|Score|Minutes|Hardware): (.+)$", "\n".join(comments), re.MULTILINE))
    assert list(stated) == ["Data", "Score", "Minutes", "Hardware"]
    assert re.match(r"\d+(\.\d+)?|not measured$", stated["Minutes"])
    assert re.match(r"\d+(\.\d+)? (± \d+(\.\d+)? )?%|not measured$", stated["Score"])
    if "%" in stated["Score"]:
        assert "±" in stated["Score"] or "the spread is not measured" in stated["Score"]
        assert "not measured" not in (stated["Data"], stated["Hardware"])


def test_the_recipes_state_what_is_decided_without_them() -> None:
    from_weights, from_scratch = load_config(["recipe=finetune"]), load_config(["recipe=scratch"])
    assert from_weights.model == ModelConfig(freeze_norm_stats=True)
    assert from_scratch.model == ModelConfig(
        pretrained=False, freeze_epochs=0, freeze_stages=0, freeze_norm_stats=False
    )
    assert from_scratch.optimizer == OptimizerConfig(backbone_lr_scale=1.0)


def test_the_promised_presets_exist() -> None:
    promised = {"resnet18", "resnet50", "mobilenetv3_large_100", "efficientnet_b0", "tf_efficientnet_lite0"}
    assert promised | {"convnext_tiny", "vit_small_patch16_224", "resnet10t"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_preset_is_named_after_its_backbone(name: str) -> None:
    assert load_config([f"model={name}"]).model.name == name


@pytest.mark.parametrize("name", NAMES)
def test_a_model_preset_sets_only_what_differs_from_the_defaults(name: str) -> None:
    content = read_preset("model", name)
    defaults = Config().model_dump()
    same = [
        setting.key
        for setting in content.settings
        if defaults[setting.key.partition(".")[0]][setting.key.partition(".")[2]] == setting.value
    ]
    assert set(same) <= {"model.name"}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_preset_leaves_the_source_of_the_weights_to_the_user(name: str) -> None:
    assert not {"model.pretrained", "model.weights"} & {setting.key for setting in read_preset("model", name).settings}


@pytest.mark.parametrize("name", NAMES)
def test_timm_knows_the_backbone_and_has_weights_for_it(name: str) -> None:
    assert timm.is_model(name)
    assert timm.is_model_pretrained(name)
