"""Data settings and a preprocessing as arguments of a program, checked as on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from classifier_training.config.arguments import ARGUMENT, plain_value
from classifier_training.config.explain import check, unknown_key
from classifier_training.config.options import show_value
from classifier_training.config.overrides import Override
from classifier_training.config.schema import DataConfig
from classifier_training.errors import ConfigError
from classifier_training.types import Preprocessing


def with_settings(config: DataConfig, settings: Mapping[str, Any]) -> DataConfig:
    """A configuration with single settings replaced; faults are reported as on the command line."""
    faults = [
        unknown_key(f"data.{name}", show_value(value), ARGUMENT)
        for name, value in settings.items()
        if name not in DataConfig.model_fields
    ]
    given = {
        f"data.{name}": Override(f"data.{name}", _plain(value), ARGUMENT)
        for name, value in {**config.model_dump(), **settings}.items()
        if name in DataConfig.model_fields
    }
    checked, lines = check(given)
    if checked is None or faults:
        raise ConfigError("\n".join([*faults, *lines]))
    return checked.data


def _plain(value: object) -> object:
    """NumPy's numbers as plain ones; what no setting can be stays, for the message."""
    try:
        return plain_value(value)
    except TypeError:
        return value


def merged_preprocessing(preprocessing: Preprocessing | None, config: DataConfig) -> Preprocessing:
    """The given preprocessing, unless the settings contradict it, else the usual one with the settings in it."""
    decoding = config.decoding
    wanted = {
        "image_size": config.evaluation_size,
        "crop_pct": config.crop_pct,
        "background": decoding.background,
        "integer_range": decoding.integer_range,
    }
    settings: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    if preprocessing is None:
        return Preprocessing(**settings)
    for name, value in settings.items():
        if getattr(preprocessing, name) != value:
            raise ConfigError(
                f"data.{name}={value}: the given preprocessing has {getattr(preprocessing, name)}; give one of them"
            )
    return preprocessing
