from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir, version
from hydra.core.global_hydra import GlobalHydra

from classifier_training.config import Config, load_config
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


def test_all_faults_are_told_at_once_with_their_origin(tmp_path: Path) -> None:
    file = tmp_path / "exp.yaml"
    file.write_text("data:\n  batch_size: big\n  batchsize: 3\nmodle: {name: x}\n")
    overrides = ["optimizer.lr=-1", "epochs=3", "foo", "data.val_fraction=0.6", "data.test_fraction=0.5"]
    with pytest.raises(ConfigError) as raised:
        load_config(overrides, file=file)
    assert str(raised.value).splitlines() == [
        f"data.batchsize=3 ({file}:3): no such setting; did you mean data.batch_size?",
        f"modle={{name: x}} ({file}:4): no such setting; did you mean model?",
        "epochs=3 (command line): no such setting; did you mean trainer.max_epochs=3?",
        "foo (command line): is no setting; settings are written key=value, such as data.batch_size=64",
        f"data.batch_size=big ({file}:2): must be a whole number, at least 1",
        "optimizer.lr=-1 (command line): must be a number, above 0",
        (
            "data.val_fraction=0.6 (command line), data.test_fraction=0.5 (command line): "
            "leave no photo for training; their sum must be below 1"
        ),
    ]


def test_one_text_instead_of_a_list_is_refused() -> None:
    with pytest.raises(TypeError, match="list of words"):
        load_config("data.batch_size=3")


def test_it_works_inside_a_process_that_uses_hydra(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("x: 1\n")
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        theirs, base = GlobalHydra.instance().hydra, version.getbase()
        assert load_config(["model=resnet50"]).model.name == "resnet50"
        with pytest.raises(ConfigError):
            load_config(["model=resnet50", "seed=-1"])
        assert GlobalHydra.instance().hydra is theirs
        assert version.getbase() is base
        assert compose("mine").x == 1
    assert load_config(["model=resnet18"]).model.name == "resnet18"
    assert not GlobalHydra.instance().is_initialized()


def test_hydra_is_given_back_when_composing_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "broken.yaml").write_text("# @package _global_\ndefaults: [nowhere]\n")
    monkeypatch.setattr("classifier_training.config.compose.PRESETS", tmp_path)
    monkeypatch.setattr("classifier_training.config.options.PRESETS", tmp_path)
    with pytest.raises(Exception, match="nowhere"):
        load_config(["model=broken"])
    assert not GlobalHydra.instance().is_initialized()


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
