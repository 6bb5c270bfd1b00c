from __future__ import annotations

from classifier_training.config import Config
from classifier_training.config.options import Option, option_table, options
from classifier_training.config.values import read_typed


def test_every_setting_of_the_schema_is_listed_once_in_order() -> None:
    expected = [
        f"{section}.{name}" if isinstance(values, dict) else section
        for section, values in Config().model_dump().items()
        for name in (values if isinstance(values, dict) else [section])
    ]
    assert [option.key for option in options()] == expected


def test_every_setting_is_described() -> None:
    assert [option.key for option in options() if not (option.description and option.allowed and option.type)] == []


def test_every_default_reads_back_as_itself() -> None:
    for option in options():
        section, _, name = option.key.rpartition(".")
        default = getattr(getattr(Config(), section) if section else Config(), name)
        read = read_typed(option.default, option)
        if isinstance(default, tuple):
            assert isinstance(read, list)
            assert [round(value, 5) for value in default] == read
        else:
            assert read == default, option.key


def test_an_option_has_type_and_range() -> None:
    table = option_table()
    assert table["data.val_fraction"] == Option(
        "data.val_fraction", "float", "0.15", "a number, at least 0 and below 1",
        "share of photos for validation where no split is given",
    )  # fmt: skip
    assert table["data.batch_size"].type == "int | auto"
    assert table["data.image_size"].type == "int | null"
    assert table["data.balance"].choices == ("none", "sampler", "loss_weights", "logit_adjustment")
    assert table["data.class_weights"].is_mapping
    assert table["trainer.devices"].type == "int | auto"
    assert not table["trainer.devices"].is_text
    assert table["run.name"].is_text
    assert table["run.name"].is_optional
