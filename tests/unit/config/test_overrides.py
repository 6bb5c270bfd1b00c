from __future__ import annotations

import pytest
from tests.unit.config.nasty_text import NASTY_TEXT

from classifier_training.config.compose import load_config
from classifier_training.config.overrides import read_overrides


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("foo", "is no setting; settings are written key=value"),
        ("", "is no setting; settings are written key=value"),
        ("--data.batch_size", "is no setting; settings are written key=value"),
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
        ("data._target_=os.system", "no such setting"),
    ],
)
def test_a_word_that_is_no_setting_is_one_fault(token: str, message: str) -> None:
    overrides = read_overrides([token])
    assert overrides.settings == []
    assert overrides.preset is None
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
