from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.config.nasty_text import NASTY_TEXT

from classifier_training.config import load_config
from classifier_training.config.arguments import ARGUMENT, COMMAND_LINE, read_overrides
from classifier_training.config.overrides import Override
from classifier_training.errors import ConfigError


def test_texts_lists_and_mappings_are_read_in_their_order() -> None:
    given = read_overrides(
        "seed=1",
        ["seed=2", "model=resnet50"],
        {"seed": 3, "recipe": "scratch"},
        ("ema.enabled=false",),
        photos="photos",
    )

    assert given.settings == (
        Override("data.root", "photos", ARGUMENT),
        Override("seed", 1, ARGUMENT, "1"),
        Override("seed", 2, ARGUMENT, "2"),
        Override("model", "resnet50", ARGUMENT),
        Override("seed", 3, ARGUMENT),
        Override("recipe", "scratch", ARGUMENT),
        Override("ema.enabled", False, ARGUMENT, "false"),
    )
    assert not read_overrides()


def test_what_was_read_before_keeps_its_origin_and_its_faults() -> None:
    typed = read_overrides("seed=1", "sede=2", origin=COMMAND_LINE)
    given = read_overrides({"seed": 0}, typed, "seed=4")

    assert [(one.value, one.origin) for one in given.settings] == [(0, ARGUMENT), (1, COMMAND_LINE), (4, ARGUMENT)]
    assert given.faults == ("sede=2 (command line): no such setting; did you mean seed?",)


def test_later_ones_win_and_photos_come_first() -> None:
    config = load_config(read_overrides("seed=1", {"seed": 2}, "data.root=other", photos=Path("photos")))

    assert (config.seed, config.data.root) == (2, "other")


@pytest.mark.parametrize("photos", ["1e3", "null", "a=b", " ", "\\x"])
def test_photos_are_a_path_whatever_their_name_looks_like(photos: str) -> None:
    assert load_config(read_overrides(photos=photos)).data.root == photos


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.batch_size", 64),
        ("optimizer.lr", 1e-05),
        ("optimizer.lr", np.float64(0.25)),
        ("ema.enabled", False),
        ("run.name", None),
        ("run.name", "1e3"),
        ("run.name", "no"),
        ("run.name", " spaces, [brackets] {a: 1} = \"quotes\" and 'more' #x "),
        ("run.name", "日本語 🐈\nline"),
        ("data.image_size", None),
        ("data.train_scale", (0.5, 1.0)),
        ("data.train_scale", [0.5, 1.0]),
        ("trainer.devices", "auto"),
        ("trainer.devices", 2),
    ],
)
def test_a_python_value_arrives_as_it_is(key: str, value: Any) -> None:
    config: Any = load_config(read_overrides({key: value}))

    for name in key.split("."):
        config = getattr(config, name)
    assert config == (tuple(value) if isinstance(value, list) else value)


def test_a_path_may_be_given_as_a_path() -> None:
    assert load_config(read_overrides({"run.dir": Path("a") / "b"})).run.dir == str(Path("a") / "b")


@pytest.mark.parametrize("name", ["a", "", "00", "1e3", "no", "é", "日本語", "🐈", "a: b", "a,b", "{x}", 'q"', "\\n"])
def test_class_names_in_a_mapping_stay_text(name: str) -> None:
    settings = {
        "data.class_weights": {name: 2.5, "other": 1},
        "data.balance": "sampler",
        "data.balance_weighting": "manual",
    }

    assert load_config(read_overrides(settings)).data.class_weights == {name: 2.5, "other": 1.0}


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", np.array([object()]), [b"a"]])
def test_a_value_that_no_setting_can_have_is_one_fault(value: Any) -> None:
    (line,) = read_overrides({"data.batch_size": value}).faults

    assert line.startswith("data.batch_size=")
    assert line.endswith(" (argument): a setting is text, a number, a truth value, a list or a mapping")
    assert "\n" not in line


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "many", [1], {"a": 1}])
def test_a_wrong_value_is_left_to_the_configuration(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^data\.batch_size=.*must be a whole number"):
        load_config(read_overrides({"data.batch_size": value}))


@pytest.mark.parametrize("value", ["resnet5", None, ["resnet50"]])
def test_a_preset_of_a_mapping_must_exist(value: Any) -> None:
    (line,) = read_overrides({"model": value}).faults

    assert line.startswith("model=")
    assert "(argument): no such preset" in line


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("foo", "is not a setting; settings are written key=value"),
        ("", "is not a setting; settings are written key=value"),
        ("--data.batch_size", "is not a setting; settings are written key=value"),
        ("=3", "has no key before the ="),
        ("data.batch_size=", "has no value behind the =; leave data.batch_size out to keep its default"),
        ("data.root= ", "has no value behind the ="),
        ("+data.batch_size=3", "every setting exists already, so nothing is added; write data.batch_size=3"),
        ("++data.batch_size=3", "every setting exists already, so nothing is added; write data.batch_size=3"),
        ("~data.root", "a setting cannot be removed; to switch an optional one off write data.root=null"),
        ("~data.root=x", "a setting cannot be removed; to switch an optional one off write data.root=null"),
        ("hydra.run.dir=x", "no such setting"),
        ("model@x=resnet50", "no such setting"),
        ("model/x=resnet50", "no such setting"),
        ("model=../model/resnet50", "no such preset"),
        ("model=null", "no such preset"),
        (
            "recipe=fintune",
            "no such preset (nearest: finetune); presets: auto, finetune, probe, scratch, scratch_32px, scratch_long",
        ),
        ("recipy=scratch", "no such setting; did you mean recipe?"),
        ("data._target_=os.system", "no such setting"),
    ],
)
def test_a_text_that_is_not_a_setting_is_one_fault(token: str, message: str) -> None:
    overrides = read_overrides(token, origin=COMMAND_LINE)
    assert overrides.settings == ()
    (line,) = overrides.faults
    assert line.startswith(f"{token} (command line): {message}")


@pytest.mark.parametrize("text", NASTY_TEXT)
def test_text_arrives_as_it_was_typed(text: str) -> None:
    config = load_config([f"run.name={text}", f"data.root={text}", f"model.name={text}", f"model.weights={text}"])
    assert (config.run.name, config.data.root, config.model.name, config.model.weights) == (text,) * 4


def test_null_switches_an_optional_setting_off_and_is_text_elsewhere() -> None:
    config = load_config(["run.name=x", "run.name=null", "data.label_column=null", "data.image_size=null"])
    assert config.run.name is None
    assert config.data.label_column == "null"
    assert config.data.image_size is None


def test_values_are_read_by_type() -> None:
    config = load_config(
        [
            "data.batch_size= 64",
            "seed=1_000",
            "optimizer.lr=1e-3",
            "optimizer.weight_decay=0",
            "ema.enabled=False",
            "data.train_scale=[.5,1]",
            "trainer.precision=32-true",
            "trainer.gradient_clip_val=null",
        ]
    )
    assert (config.data.batch_size, config.seed, config.optimizer.lr) == (64, 1000, 0.001)
    assert (config.optimizer.weight_decay, config.ema.enabled, config.data.train_scale) == (0.0, False, (0.5, 1.0))
    assert (config.trainer.precision, config.trainer.gradient_clip_val) == ("32-true", None)


@pytest.mark.parametrize(("typed", "value"), [("2", 2), ("auto", "auto")])
def test_devices_are_a_number_or_auto(typed: str, value: int | str) -> None:
    assert load_config([f"trainer.devices={typed}"]).trainer.devices == value


@pytest.mark.parametrize(
    "typed", ["{012: 2, no: 1, a:b: 3, '': 0.5}", "{012:2,no:1,a:b:3,'':0.5}", '{"012":2,"no":1,"a:b":3,"":0.5}']
)
def test_class_names_stay_text(typed: str) -> None:
    config = load_config([f"data.class_weights={typed}", "data.balance_weighting=manual", "data.balance=sampler"])
    assert config.data.class_weights == {"012": 2.0, "no": 1.0, "a:b": 3.0, "": 0.5}


@pytest.mark.parametrize("name", ["t-shirt", "012", "1.5", "no", "a b", "{x}", "", "Größe"])
def test_one_class_is_weighted_by_its_dotted_name(name: str) -> None:
    overrides = [f"data.class_weights.{name}=2", "data.balance_weighting=manual", "data.balance=sampler"]
    assert load_config(overrides).data.class_weights == {name: 2.0}


@pytest.mark.parametrize(("value", "name"), [(7, "7"), (2024.5, "2024.5")])
def test_a_number_names_a_run(value: float, name: str) -> None:
    assert load_config(read_overrides({"run.name": value})).run.name == name


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ({"optimizer.lr": np.float32(0.25)}, "optimizer.lr", 0.25),
        ({"optimizer.lr": np.array(0.25)}, "optimizer.lr", 0.25),
        ({"data.batch_size": np.int64(4)}, "data.batch_size", 4),
        ({"ema.enabled": np.bool_(False)}, "ema.enabled", False),
        ({"data.train_scale": np.array([0.5, 1.0])}, "data.train_scale", [0.5, 1.0]),
        ({"data.train_scale": (np.float64(0.5), np.float32(1.0))}, "data.train_scale", [0.5, 1.0]),
        ({"data": {"batch_size": 8}}, "data.batch_size", 8),
        ({"data": {"class_weights": {np.str_("cat"): np.float32(2)}}}, "data.class_weights", {"cat": 2.0}),
        ({"model": {"weights": Path("w.safetensors")}}, "model.weights", "w.safetensors"),
        ({"model": {"name": np.str_("resnet18")}}, "model.name", "resnet18"),
        ({np.str_("seed"): np.uint8(3)}, "seed", 3),
    ],
)
def test_values_of_numpy_and_nested_mappings_are_plain_values(given: dict[Any, Any], key: str, value: object) -> None:
    overrides = read_overrides(given)

    assert overrides.faults == ()
    (setting,) = overrides.settings
    assert (setting.key, setting.value) == (key, value)
    assert type(setting.value) is type(value)
    load_config(overrides.only(lambda known: known != "data.class_weights"))


def test_faults_in_a_nested_mapping_name_the_whole_key() -> None:
    given = read_overrides({"data": {"batchsize": 8, "batch_size": np.zeros((2, 2))}, "optimizer": {"lr": object}})
    with pytest.raises(ConfigError) as caught:
        load_config(given)

    lines = str(caught.value).splitlines()
    assert lines[0].startswith("data.batchsize=8 (argument): no such setting; did you mean data.batch_size?")
    assert "optimizer.lr=<class 'object'> (argument): a setting is text" in lines[1]
    assert lines[2].startswith("data.batch_size=[[0, 0], [0, 0]] (argument): must be a whole number")
