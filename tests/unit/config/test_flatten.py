from __future__ import annotations

from classifier_training.config import Config
from classifier_training.config.flatten import flat_settings
from classifier_training.config.options import option_table


def test_every_setting_of_the_schema_has_its_dotted_key_in_order() -> None:
    assert list(flat_settings(Config().model_dump())) == list(option_table())


def test_a_setting_that_holds_a_mapping_stays_one_value() -> None:
    config = {"seed": 3, "data": {"class_weights": {"a.b": 1.0}, "root": None}, "unknown": {"a": [1]}, "empty": {}}
    assert flat_settings(config) == {"seed": 3, "data.class_weights": {"a.b": 1.0}, "data.root": None, "unknown.a": [1]}
