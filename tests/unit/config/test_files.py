from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.unit.config.nasty_text import NASTY_TEXT

from classifier_training.config import Config, load_config, to_yaml
from classifier_training.config.files import read_file
from classifier_training.errors import ConfigError


def with_text(text: str) -> Config:
    weights = {"balance": "sampler", "balance_weighting": "manual", "class_weights": {text: 2.0, "": 1.0}}
    values = {"run": {"name": text, "dir": text}, "data": {"root": text, **weights}}
    return Config.model_validate(values)


@pytest.mark.parametrize("text", [*NASTY_TEXT, "null"])
def test_every_text_comes_back_from_the_file(text: str, tmp_path: Path) -> None:
    config = with_text(text)
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config), encoding="utf-8", newline="\n")
    assert load_config(file=file) == config
    assert yaml.safe_load(to_yaml(config)) == config.model_dump(mode="json")


def test_numbers_come_back_to_the_last_digit(tmp_path: Path) -> None:
    config = Config.model_validate(
        {"optimizer": {"lr": 1e-05, "weight_decay": 0.1 + 0.2}, "data": {"train_ratio": (1e-07, 4 / 3)}}
    )
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config), encoding="utf-8")
    assert load_config(file=file) == config


def test_the_file_has_all_settings_in_the_order_of_the_schema() -> None:
    text = to_yaml(Config())
    assert list(yaml.safe_load(text)) == list(Config.model_fields)
    assert "  name: auto\n" in text
    assert "  train_scale: [0.35, 1.0]\n" in text
    assert "  root: null\n" in text


def test_a_file_written_by_hand_is_read_by_type(tmp_path: Path) -> None:
    file = tmp_path / "exp.yaml"
    file.write_text(
        "\ufeff# mine\r\nseed: 3\r\nrun: {name: 012, dir: 1e3}\r\ndata:\r\n  root: no\r\n  image_size:\r\n"
        "  balance: none\r\n  train_scale:\r\n  - 0.5\r\n  - 1\r\noptimizer: {lr: 1e-4}\r\nmodel: {weights: ~}\r\n"
        "trainer: {devices: 2, precision: 32-true, deterministic: False}\r\nema:\r\n  # enabled: false\r\n",
        encoding="utf-8",
        newline="",
    )
    config = load_config(file=str(file))
    assert (config.seed, config.run.name, config.run.dir, config.data.root) == (3, "012", "1e3", "no")
    assert (config.data.image_size, config.model.weights, config.ema) == (None, None, Config().ema)
    assert (config.optimizer.lr, config.data.train_scale, config.trainer.devices) == (1e-4, (0.5, 1.0), 2)
    assert config.trainer.deterministic is False


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": the configuration file is empty; it must hold sections"),
        ("# nothing\n", ": the configuration file is empty; it must hold sections"),
        ("- a\n", ": the configuration file is a list; it must hold sections"),
        ("hello\n", ": the configuration file is one plain value; it must hold sections"),
        ("a: [1\n", ":2: the configuration file is not valid YAML: expected ',' or ']'"),
        ("seed: 1\n---\nseed: 2\n", ":2: the configuration file is not valid YAML: but found another document"),
        ("seed: \x01\n", ": the configuration file is not valid YAML: unacceptable character"),
        ("seed: !!python/name:os.system ''\n", ":1: the configuration file has the tag tag:yaml.org,2002:python/name"),
        ("seed: !!int 3\n", ":1: the configuration file has the tag tag:yaml.org,2002:int"),
        ("data: &d {batch_size: 3}\n", ":1: the configuration file has an anchor or alias"),
        ("data: &d [*d]\n", ":1: the configuration file has an anchor or alias"),
        ("seed: 1\nseed: 2\n", ":2: the configuration file has 'seed' twice"),
        ("data: {batch_size: 1, batch_size: 2}\n", ":1: the configuration file has 'batch_size' twice"),
        ("? [a]\n: 1\n", ":1: the configuration file has a key that is not text"),
        ("data: {class_weights: {a: 1, a: 2}}\n", ":1: the configuration file has 'a' twice, in data.class_weights"),
        ("x: " + "[" * 5000 + "]" * 5000, ": the configuration file is nested too deeply"),
    ],
)
def test_a_broken_file_is_one_fault(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "exp.yaml"
    file.write_text(content)
    (line,) = read_file(file).faults
    assert line.startswith(f"{file}{message}")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("batch_size: 3", "batch_size=3 (FILE:1): no such setting; did you mean data.batch_size=3?"),
        ("data.batch_size: x", "data.batch_size=x (FILE:1): must be a whole number, at least 1"),
        ("data:\n  batchsize: 3", "data.batchsize=3 (FILE:2): no such setting; did you mean data.batch_size?"),
        ("data:\n  batch_size: '3'", "data.batch_size='3' (FILE:2): must be a whole number, at least 1"),
        ("data: {batch_size: {a: 1}}", "data.batch_size={a: 1} (FILE:1): must be a whole number, at least 1"),
        ("data: {batch_size: [1]}", "data.batch_size=[1] (FILE:1): must be a whole number, at least 1"),
        ("data: {root: [a]}", "data.root=[a] (FILE:1): must be text, not empty, or null"),
        ("data: {root: ''}", "data.root='' (FILE:1): must be text, not empty, or null"),
        ("run: {dir: null}", "run.dir=null (FILE:1): must be text, not empty"),
        ("ema: {enabled: yes}", "ema.enabled=yes (FILE:1): must be true or false"),
        ("data: {batch_size: 0x10}", "data.batch_size=0x10 (FILE:1): must be a whole number, at least 1"),
        ("data: {batch_size: 012}", "data.batch_size=012 (FILE:1): must be a whole number, at least 1"),
        ("optimizer: {lr: .inf}", "optimizer.lr=.inf (FILE:1): must be a number, above 0, or find"),
        ("data: photos", "data: photos (FILE:1): data is a section and holds settings"),
        ("model: resnet50", "model: resnet50 (FILE:1): model is a section and holds settings; a preset is chosen on"),
        (
            "recipe: finetune",
            "recipe: finetune (FILE:1): recipe is a section and holds settings; a preset is chosen on the command line",
        ),
        ("recipe: {a: 1}", "recipe.a=1 (FILE:1): no such setting"),
        ("data: [{a: 1, a: 2}]", "data: … (FILE:1): data is a section and holds settings"),
        ("model: {_target_: os.system}", "model._target_=os.system (FILE:1): no such setting"),
        ("data: {class_weights: {a: x}}", "data.class_weights.a=x (FILE:1): must be {class: weight, …}, each weight"),
    ],
)
def test_a_wrong_setting_is_reported_with_its_line(content: str, line: str, tmp_path: Path) -> None:
    file = tmp_path / "exp.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError) as raised:
        load_config(file=file)
    assert str(raised.value).replace(str(file), "FILE").startswith(line)
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    messages = [
        (tmp_path / "none.yaml", "there is no such configuration file"),
        (tmp_path, "cannot read the configuration file: Is a directory"),
        (tmp_path / "binary.yaml", "the configuration file is not UTF-8 text"),
    ]
    for path, message in messages:
        with pytest.raises(ConfigError) as raised:
            load_config(["seed=x"], file=path)
        assert str(raised.value).splitlines()[0] == f"{path}: {message}"
        assert "seed=x" in str(raised.value)
