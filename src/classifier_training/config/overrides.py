"""``key=value`` overrides: each one read by the type of its setting, all faults collected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from classifier_training.config.explain import Setting, fault, unknown_key, unknown_preset
from classifier_training.config.options import Option, option_table, preset_names
from classifier_training.config.values import UnreadableValueError, read_typed

_ORIGIN = "command line"


@dataclass(slots=True)
class Overrides:
    """What the command line says.

    Attributes:
        settings: What it sets, in the order typed.
        preset: The preset chosen with ``model=``; None without one.
        faults: One line for each fault.
    """

    settings: list[Setting] = field(default_factory=list)
    preset: str | None = None
    faults: list[str] = field(default_factory=list)


def read_overrides(tokens: Sequence[str]) -> Overrides:
    """Reads ``key=value`` words; whatever is wrong with them is among the faults, not raised."""
    overrides = Overrides()
    for token in tokens:
        malformed = _malformed(token)
        if malformed:
            overrides.faults.append(fault(token, _ORIGIN, malformed))
            continue
        key, _, text = token.partition("=")
        if key == "model":
            _choose_preset(text, overrides)
        else:
            _read_setting(key, text, overrides)
    return overrides


def _malformed(token: str) -> str | None:
    """What is wrong with the form of a word, whichever setting it names; None when nothing is."""
    key, equals, value = token.partition("=")
    if key.startswith("+"):
        return f"every setting exists already, so nothing is added; write {token.lstrip('+')}"
    if key.startswith("~"):
        return f"a setting cannot be removed; to switch an optional one off write {key[1:]}=null"
    if not equals:
        return "is no setting; settings are written key=value, such as data.batch_size=64"
    if not key.strip():
        return "has no key before the =; settings are written key=value, such as data.batch_size=64"
    if not value.strip(" \t"):
        return f"has no value behind the =; leave {key} out to keep its default"
    return None


def _choose_preset(name: str, overrides: Overrides) -> None:
    if name in preset_names("model"):
        overrides.preset = name
    else:
        overrides.faults.append(unknown_preset(name, _ORIGIN))


def _read_setting(key: str, text: str, overrides: Overrides) -> None:
    option, entry = _find(key)
    if option is None:
        overrides.faults.append(unknown_key(key, text, _ORIGIN))
        return
    try:
        value = read_typed(text, option)
    except UnreadableValueError as error:
        overrides.faults.append(fault(f"{key}={text}", _ORIGIN, f"{error.message}; must be {option.allowed}"))
    else:
        overrides.settings.append(Setting(option.key, value, _ORIGIN, text, entry))


def _find(key: str) -> tuple[Option | None, str | None]:
    """The setting of a key; for ``data.class_weights.shirt`` also the class name, which may be any text."""
    table = option_table()
    if key in table:
        return table[key], None
    for known, option in table.items():
        if option.is_mapping and key.startswith(f"{known}."):
            return option, key.removeprefix(f"{known}.")
    return None, None
