"""The settings and surroundings in which runs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from classifier_training.config.flatten import flat_settings
from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.wording import DASH

_OF_THE_FOLDER = {"run.name", "run.dir"}
_SURROUNDINGS = ("data_fingerprint", "python", "versions", "git_commit", "cpu", "gpus", "cuda")
_LONGEST = 200


class Difference(NamedTuple):
    """A setting with its values in all runs, and whether all versions that made the runs have this setting."""

    key: str
    values: list[str]
    is_known_to_all: bool


def differing_settings(data: Sequence[RunData]) -> list[Difference]:
    """The settings in which the runs differ; evaluations have no settings, which is a dash."""
    return _differing([flat_settings(one.config) for one in data])


def differing_surroundings(data: Sequence[RunData]) -> list[Difference]:
    """Differences in versions, hardware, code and photos."""
    chosen = [{key: one.environment[key] for key in _SURROUNDINGS if key in one.environment} for one in data]
    return _differing([flat_settings(values) for values in chosen])


def _differing(flat: Sequence[Mapping[str, Any]]) -> list[Difference]:
    keys = dict.fromkeys(key for values in flat for key in values if key not in _OF_THE_FOLDER)
    known = [values for values in flat if values]  # a run without settings does not differ in all of them
    return [
        Difference(one_line(key), [_written(values, key) for values in flat], all(key in values for values in known))
        for key in keys
        if len({_written(values, key) for values in known}) > 1
    ]


def _written(values: Mapping[str, Any], key: str) -> str:
    """A value as it is in a file; a dash where the setting is not known."""
    if key not in values:
        return DASH
    value = values[key]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return one_line(text, _LONGEST)
