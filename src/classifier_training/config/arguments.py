"""How the Python API takes settings: words as on the command line, or a mapping."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from classifier_training.errors import ConfigError

Overrides = str | Mapping[str, Any] | Sequence[str]


def collect_overrides(overrides: Iterable[Overrides], photos: str | os.PathLike[str] | None = None) -> list[str]:
    """Brings settings into the form ``key=value``, in order; later ones win.

    Args:
        overrides: ``"data.batch_size=64"``, a list of such words, or ``{"data.batch_size": 64}``.
        photos: Becomes ``data.root``, before everything else.

    Raises:
        ConfigError: A value is of a type that no setting has.
    """
    words: list[str] = [] if photos is None else [f"data.root={os.fspath(photos)}"]
    for override in overrides:
        if isinstance(override, str):
            words.append(override)
        elif isinstance(override, Mapping):
            words.extend(f"{key}={_word(key, value)}" for key, value in override.items())
        else:
            words.extend(override)
    return words


def _word(key: str, value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        raise ConfigError(f"{key}={value!r}: a setting is text, a number, a truth value, a list or a mapping") from None
