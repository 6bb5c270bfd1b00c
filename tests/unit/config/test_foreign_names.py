from __future__ import annotations

import pytest

from classifier_training.config.compose import load_config
from classifier_training.config.foreign_names import DEVICES, PHOTOS, SETTINGS, SWITCHES, takes_value, translate
from classifier_training.config.options import Option, option_table


def typical_value(option: Option) -> str:
    """A value as somebody who comes from another trainer types it."""
    if option.choices:
        return option.choices[0].upper()
    kind = option.type.split(" ")[0]
    return {"int": "14", "float": "0.5", "bool": "True", "text": "some-name"}[kind]


def accepted(words: list[str] | None) -> bool:
    assert words is not None
    load_config([word for word in words if not word.startswith("CUDA_VISIBLE_DEVICES=")])
    return bool(words)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_setting_is_answered_with_words_that_are_accepted(name: str) -> None:
    option = option_table()[SETTINGS[name]]

    assert accepted(translate(name, typical_value(option)))
    assert accepted(translate(name.replace("_", "-"), None if not takes_value(name) else typical_value(option)))


@pytest.mark.parametrize("name", sorted(SWITCHES))
def test_every_switch_is_answered_with_words_that_are_accepted(name: str) -> None:
    on, off = translate(name, None), translate(name, "False")

    assert accepted(on)
    assert accepted(off)
    assert on != off
    assert on == translate(name, "true")


@pytest.mark.parametrize("name", sorted(DEVICES))
@pytest.mark.parametrize("value", ["cpu", "0", "1", "0,1", "[0, 1]", "cuda", "cuda:1", "mps", "-1", "auto", None])
def test_every_device_is_answered_with_words_that_are_accepted(name: str, value: str | None) -> None:
    if (name, value) in {("gpus", "0"), ("devices", "0")}:
        assert translate(name, value) == ["trainer.accelerator=cpu"]
    assert accepted(translate(name, value))


@pytest.mark.parametrize("name", sorted(PHOTOS))
def test_every_name_of_the_photos_is_answered_with_words_that_are_accepted(name: str) -> None:
    assert translate(name, "my photos") == ["data.root=my photos"]
    assert accepted(translate(name, "my photos"))


def test_no_entry_repeats_what_the_schema_says() -> None:
    """The last part of a key, where only one setting has it, is understood without an entry."""
    leaves = [key.rpartition(".")[2] for key in option_table()]

    assert [name for name in SETTINGS if leaves.count(name) == 1] == ["project"]  # the folder of runs, in Ultralytics


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", "5", ["trainer.max_epochs=5"]),
        ("batch-size", "16", ["data.batch_size=16"]),
        ("batch", "-1", ["data.batch_size=auto"]),
        ("batch", "0.70", ["data.batch_size=auto"]),
        ("batch", "auto", ["data.batch_size=auto"]),
        ("auto_find_batch_size", "True", ["data.batch_size=auto"]),
        ("auto_scale_batch_size", "binsearch", ["data.batch_size=auto"]),
        ("max_epochs", "5", ["trainer.max_epochs=5"]),
        ("optimizer.lr", "0.1", ["optimizer.lr=0.1"]),
        ("model", "resnet50", ["model=resnet50"]),
        ("model", "resnet51", ["model.name=resnet51"]),
        ("opt", "AdamW", ["optimizer.name=adamw"]),
        ("pretrained", None, ["model.pretrained=true"]),
        ("pretrained", "False", ["model.pretrained=false"]),
        ("no-pretrained", None, ["model.pretrained=false"]),
        ("epochs", None, ["trainer.max_epochs=VALUE"]),
        ("name", None, ["run.name=VALUE"]),
        ("device", "cpu", ["trainer.accelerator=cpu"]),
        ("device", "0,1", ["CUDA_VISIBLE_DEVICES=0,1", "trainer.accelerator=gpu", "trainer.devices=2"]),
        ("device", "cuda:1", ["CUDA_VISIBLE_DEVICES=1", "trainer.accelerator=gpu", "trainer.devices=1"]),
        ("gpus", "2", ["trainer.accelerator=gpu", "trainer.devices=2"]),
        ("nonsense", "5", None),
    ],
)
def test_what_is_typed_instead(name: str, value: str | None, words: list[str] | None) -> None:
    assert translate(name, value) == words
