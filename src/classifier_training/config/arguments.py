"""Reads settings as they are given, on the command line or in Python: once, by the types of the schema."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final

from classifier_training.config.explain import fault, unknown_key, unknown_preset
from classifier_training.config.options import Option, option_table, section_names, show_value
from classifier_training.config.overrides import Override, OverrideLike, Overrides
from classifier_training.config.preset_groups import PRESET_GROUPS, preset_names
from classifier_training.config.values import UnreadableValueError, read_typed

COMMAND_LINE: Final = "command line"
ARGUMENT: Final = "argument"


def read_overrides(
    *arguments: OverrideLike, photos: str | os.PathLike[str] | None = None, origin: str = ARGUMENT
) -> Overrides:
    """Reads settings; anything wrong with their form is among the faults, not raised.

    Args:
        arguments: ``"data.batch_size=64"``, a list of such texts, ``{"data.batch_size": 64}`` or
            ``{"data": {"batch_size": 64}}``, or `Overrides`, which keep their origins.
        photos: Becomes ``data.root``, before everything else.
        origin: Where they were given, for messages.

    Example:
        >>> read_overrides("model=resnet50", {"data.batch_size": 64}).settings[1].value
        64
    """
    read: list[Override | str] = [] if photos is None else [Override("data.root", os.fsdecode(photos), origin)]
    for argument in arguments:
        if isinstance(argument, Overrides):
            read += [*argument.settings, *argument.faults]
        elif isinstance(argument, Mapping):
            read += _read_mapping("", argument, origin)
        else:
            texts = [argument] if isinstance(argument, str) else argument
            read += [_read_text(text, origin) for text in texts]
    return Overrides.of(read)


def _read_text(text: str, origin: str) -> Override | str:
    """Reads ``key=value``; the line of its fault where it has one."""
    malformed = _malformed(text)
    if malformed:
        return fault(text, origin, malformed)
    key, _, written = text.partition("=")
    if key in PRESET_GROUPS:
        return _choose_preset(key, written, origin)
    option, entry = _find(key)
    if option is None:
        return unknown_key(key, written, origin)
    try:
        return Override(option.key, read_typed(written, option), origin, written, entry)
    except UnreadableValueError as error:
        return fault(text, origin, f"{error.message}; must be {option.allowed}")


def _read_mapping(prefix: str, values: Mapping[Any, object], origin: str) -> list[Override | str]:
    """Reads the items of a mapping; one whose key is a section holds the settings of that section, as in YAML."""
    read: list[Override | str] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if name in section_names() and isinstance(value, Mapping):
            read += _read_mapping(f"{name}.", value, origin)
        else:
            read.append(_read_item(name, value, origin))
    return read


def _read_item(key: str, value: object, origin: str) -> Override | str:
    """Reads an item of a mapping: text as on the command line, any other value as it is."""
    if isinstance(value, str | os.PathLike):
        return _read_text(f"{key}={os.fsdecode(value)}", origin)
    try:
        plain = plain_value(value)
    except TypeError:
        return fault(f"{key}={value!r}", origin, "a setting is text, a number, a truth value, a list or a mapping")
    if key in PRESET_GROUPS:
        return _choose_preset(key, show_value(plain), origin)
    option, entry = _find(key)
    if option is None:
        return unknown_key(key, show_value(plain), origin)
    if option.is_text and entry is None and isinstance(plain, bool | int | float):
        plain = json.dumps(plain)  # as it is typed: a run may be named by its number
    return Override(option.key, plain, origin, entry=entry)


def _malformed(text: str) -> str | None:
    """What is wrong with the form of an override, whichever setting it names; None when nothing is."""
    key, equals, value = text.partition("=")
    if key.startswith("+"):
        return f"every setting exists already, so nothing is added; write {text.lstrip('+')}"
    if key.startswith("~"):
        return f"a setting cannot be removed; to switch an optional one off write {key[1:]}=null"
    if not equals:
        return "is not a setting; settings are written key=value, such as data.batch_size=64"
    if not key.strip():
        return "has no key before the =; settings are written key=value, such as data.batch_size=64"
    if not value.strip(" \t"):
        return f"has no value behind the =; leave {key} out to keep its default"
    return None


def _choose_preset(group: str, name: str, origin: str) -> Override | str:
    return Override(group, name, origin) if name in preset_names(group) else unknown_preset(group, name, origin)


def _find(key: str) -> tuple[Option | None, str | None]:
    """The setting of a key; for ``data.class_weights.shirt`` also the class name, which may be any text."""
    table = option_table()
    if key in table:
        return table[key], None
    for known, option in table.items():
        if option.is_mapping and key.startswith(f"{known}."):
            return option, key.removeprefix(f"{known}.")
    return None, None


def plain_value(value: object) -> object:
    """A copy made of plain values alone; also of NumPy's numbers and arrays, and of paths.

    Raises:
        TypeError: It is of a type that no setting has.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, list | tuple | range):
        return [plain_value(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    to_list = getattr(value, "tolist", None)  # arrays and their numbers; NumPy itself need not be imported
    if callable(to_list) and not isinstance(plain := to_list(), type(value)):
        return plain_value(plain)
    raise TypeError
