from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier_training.config import load_config
from classifier_training.config.arguments import collect_overrides
from classifier_training.errors import ConfigError


def test_words_lists_and_mappings_in_their_order() -> None:
    words = collect_overrides(["seed=1", ["seed=2", "model=resnet50"], {"seed": 3}, ("ema.enabled=false",)], "photos")

    assert words == ["data.root=photos", "seed=1", "seed=2", "model=resnet50", "seed=3", "ema.enabled=false"]
    assert collect_overrides([]) == []


def test_later_ones_win_and_photos_come_first() -> None:
    config = load_config(collect_overrides(["seed=1", {"seed": 2}, "data.root=other"], Path("photos")))

    assert (config.seed, config.data.root) == (2, "other")


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
    config: Any = load_config(collect_overrides([{key: value}]))

    for name in key.split("."):
        config = getattr(config, name)
    assert config == (tuple(value) if isinstance(value, list) else value)


def test_a_path_may_be_given_as_a_path() -> None:
    assert load_config(collect_overrides([{"run.dir": Path("a") / "b"}])).run.dir == str(Path("a") / "b")


@pytest.mark.parametrize("name", ["a", "", "00", "1e3", "no", "é", "日本語", "🐈", "a: b", "a,b", "{x}", 'q"', "\\n"])
def test_class_names_in_a_mapping_stay_text(name: str) -> None:
    settings = {
        "data.class_weights": {name: 2.5, "other": 1},
        "data.balance": "sampler",
        "data.balance_weighting": "manual",
    }

    assert load_config(collect_overrides([settings])).data.class_weights == {name: 2.5, "other": 1.0}


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", np.float32(1), [Path("a")]])
def test_a_value_that_no_setting_can_have_is_one_line(value: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^data\.batch_size=.*: a setting is text, a number, a truth value"
    ) as caught:
        collect_overrides([{"data.batch_size": value}])

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "many", [1], {"a": 1}])
def test_a_wrong_value_is_left_to_the_configuration(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^data\.batch_size=.*must be a whole number"):
        load_config(collect_overrides([{"data.batch_size": value}]))


def test_a_nested_mapping_is_told_how_to_be_written() -> None:
    with pytest.raises(ConfigError, match="data is a section, not a setting"):
        load_config(collect_overrides([{"data": {"batch_size": 64}}]))
