"""A configuration as one list of settings by dotted key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flat_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a configuration by dotted key, such as ``optimizer.lr``, in their order.

    A section is one level deep: a setting that holds a mapping, such as ``data.class_weights``, stays one value.

    Example:
        >>> flat_settings({"seed": 0, "ema": {"decay": 0.99}})
        {'seed': 0, 'ema.decay': 0.99}
    """
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, Mapping) else {name: value}
    return flat
