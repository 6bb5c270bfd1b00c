from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from classifier_training.config import Config, load_config
from classifier_training.config.preset_groups import preset_names
from classifier_training.errors import ConfigError


def test_nothing_given_is_the_schema_defaults() -> None:
    assert load_config() == Config()


def test_later_layers_win(tmp_path: Path) -> None:
    file = tmp_path / "exp.yaml"
    file.write_text("seed: 5\nmodel: {name: vit_tiny_patch16_224}\noptimizer: {lr: 1e-2}\ndata: {batch_size: 7}\n")
    config = load_config(["model=vit_small_patch16_224", "data.batch_size=9", "data.batch_size=8"], file=file)
    assert config.seed == 5  # the file over the default
    assert config.model.name == "vit_small_patch16_224"  # the preset over the file
    assert config.optimizer.lr == 3e-4
    assert config.data.batch_size == 8  # the command line over the file, and of two the last
    assert config.loss == Config().loss


def test_a_file_alone_uses_no_preset(tmp_path: Path) -> None:
    file = tmp_path / "exp.yaml"
    file.write_text("model:\n  name: resnet50\n")
    assert load_config(file=file).model == Config().model.model_copy(update={"name": "resnet50"})


def test_one_class_weight_joins_the_weights_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "exp.yaml"
    file.write_text("data: {balance: sampler, balance_weighting: manual, class_weights: {012: 2, no: 1.5}}\n")
    config = load_config(["data.class_weights.1e3=4", "data.class_weights.no=3"], file=file)
    assert config.data.class_weights == {"012": 2.0, "no": 3.0, "1e3": 4.0}


def test_all_faults_are_reported_at_once_with_their_origin(tmp_path: Path) -> None:
    file = tmp_path / "exp.yaml"
    file.write_text("data:\n  batch_size: big\n  batchsize: 3\nmodle: {name: x}\n")
    overrides = ["optimizer.lr=-1", "epochs=3", "foo", "data.val_fraction=0.6", "data.test_fraction=0.5"]
    with pytest.raises(ConfigError) as raised:
        load_config(overrides, file=file)
    assert str(raised.value).splitlines() == [
        f"data.batchsize=3 ({file}:3): no such setting; did you mean data.batch_size?",
        f"modle={{name: x}} ({file}:4): no such setting; did you mean model?",
        "epochs=3 (argument): no such setting; did you mean trainer.max_epochs=3?",
        "foo (argument): is not a setting; settings are written key=value, such as data.batch_size=64",
        f"data.batch_size=big ({file}:2): must be a whole number, at least 1, or auto",
        "optimizer.lr=-1 (argument): must be a number, above 0, or find",
        (
            "data.val_fraction=0.6 (argument), data.test_fraction=0.5 (argument): "
            "leave no photo for training; their sum must be below 1"
        ),
    ]


def test_one_text_is_one_setting() -> None:
    assert load_config("data.batch_size=3").data.batch_size == 3


def test_a_recipe_wins_over_a_model_preset_and_what_is_typed_over_both() -> None:
    for order in (["model=convnext_tiny", "recipe=finetune"], ["recipe=finetune", "model=convnext_tiny"]):
        config = load_config(["optimizer.backbone_lr_scale=0.5", *order])
        assert (config.model.name, config.model.drop_path_rate) == ("convnext_tiny", 0.1)
        assert (config.model.pretrained, config.model.freeze_norm_stats) == ("auto", True)
        assert (config.optimizer.lr, config.optimizer.backbone_lr_scale) == (4e-4, 0.5)


def test_a_later_group_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for group, rate in (("model", 0.1), ("recipe", 0.2)):
        (tmp_path / group).mkdir()
        (tmp_path / group / "a.yaml").write_text(f"# A preset.\nseed: 7\nmodel: {{drop_rate: {rate}}}\n")
    monkeypatch.setattr("classifier_training.config.preset_groups.PRESETS", tmp_path)
    assert load_config(["recipe=a", "model=a"]).model.drop_rate == 0.2
    assert load_config(["model.drop_rate=0.3", "recipe=a", "model=a"]).model.drop_rate == 0.3
    assert load_config(["model=a"]).model.drop_rate == 0.1


def test_a_conflict_with_a_preset_names_the_preset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.yaml").write_text("# A preset.\nmodel: {pretrained: true}\n")
    monkeypatch.setattr("classifier_training.config.preset_groups.PRESETS", tmp_path)
    with pytest.raises(ConfigError) as raised:
        load_config(["model=a", "model.weights=a.safetensors"])
    assert str(raised.value) == (
        "model.pretrained=true (preset model=a), model.weights=a.safetensors (argument):"
        " two sources of weights; give one of them"
    )
    config = load_config(["model=a", "model.pretrained=auto", "model.weights=a.safetensors"])
    assert config.model.weights == "a.safetensors"


def test_a_time_limit_gives_as_many_epochs_as_fit_whatever_number_a_preset_has() -> None:
    for name in preset_names("recipe"):
        assert load_config([f"recipe={name}", "trainer.time_limit=10m"]).trainer.is_ended_by_clock, name


def test_of_two_presets_of_a_group_the_last_is_taken() -> None:
    assert load_config(["model=resnet50", "model=resnet18"]) == load_config(["model=resnet18"])


def test_all_unknown_presets_are_reported() -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(["model=resnet5", "recipe=finetuned"])
    model, recipe = str(raised.value).splitlines()
    assert model.startswith(
        "model=resnet5 (argument): no such preset (nearest: resnet50); presets: auto, convnext_tiny,"
    )
    assert recipe.startswith(
        "recipe=finetuned (argument): no such preset (nearest: finetune); presets: auto, finetune, probe, scratch"
    )


@pytest.mark.parametrize("overrides", [["data.batch_size=big", "data.batchsize=3"], ["model=resnet50", "seed=x"]])
def test_a_fault_imports_nothing_heavy(overrides: list[str]) -> None:
    program = (
        "import sys\n"
        "from classifier_training.config import load_config\n"
        "from classifier_training.errors import ConfigError\n"
        f"try:\n    load_config({overrides!r})\n"
        "except ConfigError:\n"
        "    heavy = {'torch', 'torchvision', 'torchmetrics', 'lightning', 'timm', 'numpy', 'PIL', 'onnx'}\n"
        "    sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
        "sys.exit('no fault was raised')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
