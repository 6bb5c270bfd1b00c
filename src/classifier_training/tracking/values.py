"""Settings and scores in the form that every tracker accepts: flat names with plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from classifier_training.config.flatten import flat_settings
from classifier_training.files.credentials import without_credentials
from classifier_training.files.text import plain_text

Value = bool | int | float | str


def tracked_settings(config: Mapping[str, Any]) -> dict[str, Value]:
    """The settings of a configuration by dotted key, such as ``optimizer.lr``.

    A value that is not a number, text or truth value is written as JSON: None as ``null``, class weights as one text.

    Args:
        config: Sections of plain values, and settings that belong to no section.
    """
    return {key: _plain(value) for key, value in flat_settings(config).items()}


def final_scores(results: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of ``results.json`` that are scores.

    Args:
        results: ``best`` holds the epoch and the monitored metric of the best weights; ``test`` their scores on the
            test split, which become ``test/top1`` and so on. Those on the validation split, where there is no test
            split, become ``best/val/top1``, because ``val/top1`` is that of each epoch.
    """
    scores = _numbers("best", results.get("best"))
    return scores | _numbers("best/val", results.get("val")) | _numbers("test", results.get("test"))


def _plain(value: Any) -> Value:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return plain_text(without_credentials(value))
    return plain_text(json.dumps(value, ensure_ascii=False, default=str))


def _numbers(prefix: str, values: Any) -> dict[str, float]:
    if not isinstance(values, Mapping):
        return {}
    return {
        f"{prefix}/{name}": float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
