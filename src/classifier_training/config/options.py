"""The list of all settings, read from the schema: for ``config options``, the documentation and messages."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from classifier_training.config.schema import Config
from classifier_training.config.section import BYTE_COUNT, DURATION, HEX_COLOUR


@dataclass(frozen=True, slots=True)
class Option:
    """One setting.

    Attributes:
        key: Its dotted name, ``data.batch_size``.
        type: Its type, ``int | null``.
        default: Its default as it is typed.
        allowed: What it may be; follows "must be" in a message.
        description: What it means.
        choices: The values of a setting that has a fixed list, else empty.
        is_text: Whether a value is taken as the text that was typed.
        is_optional: Whether null is allowed.
        is_mapping: Whether it holds one value for each class name.
        is_sequence: Whether it holds several values.
    """

    key: str
    type: str
    default: str
    allowed: str
    description: str
    choices: tuple[str, ...] = ()
    is_text: bool = False
    is_optional: bool = False
    is_mapping: bool = False
    is_sequence: bool = False


def options() -> list[Option]:
    """All settings, in the order of the schema."""
    return list(option_table().values())


@functools.cache
def option_table() -> dict[str, Option]:
    """All settings by dotted key, in the order of the schema."""
    return {option.key: option for option in _walk(Config, prefix="")}


@functools.cache
def section_names() -> tuple[str, ...]:
    """The sections of the configuration, in the order of the schema."""
    return tuple(name for name, field in Config.model_fields.items() if _is_section(field.annotation))


def show_value(value: object) -> str:
    """A value as it is typed on the command line; a number in at most six digits."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(show_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {show_value(item)}" for key, item in value.items()) + "}"
    return str(value)


_EXAMPLES = {
    BYTE_COUNT: "such as 500MB or 20GB",
    DURATION: "such as 90s, 10m or 1h30m",
    HEX_COLOUR: "such as #ffffff",
}
"""What a text of a pattern may look like."""


def _is_section(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _walk(model: type[BaseModel], prefix: str) -> Iterator[Option]:
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            yield from _walk(field.annotation, prefix=f"{prefix}{name}.")
        else:
            yield _option(prefix + name, field)


def _option(key: str, field: FieldInfo) -> Option:
    branches = list(_branches(field.annotation, field.metadata))
    kinds = [kind for kind, _ in branches if kind is not NoneType]
    choices = tuple(str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind))
    return Option(
        key=key,
        type=" | ".join(_type_name(kind) for kind, _ in branches),
        default=show_value(field.default),
        allowed=", or ".join(_allowed(kind, limits) for kind, limits in branches),
        description=field.description or "",
        choices=choices,
        is_text=all(kind is str or get_origin(kind) is Literal for kind in kinds),
        is_optional=len(kinds) < len(branches),
        is_mapping=any(get_origin(kind) is dict for kind in kinds),
        is_sequence=any(get_origin(kind) is tuple for kind in kinds),
    )


def _branches(annotation: Any, limits: Iterable[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """The alternatives of an annotation, each with its limits (``Ge``, ``Lt`` …)."""
    if get_origin(annotation) in {Union, UnionType}:
        for alternative in get_args(annotation):
            yield from _branches(alternative, limits)
    elif get_origin(annotation) is Annotated:
        kind, *extra = get_args(annotation)
        inner = [limit for item in extra for limit in (item.metadata if isinstance(item, FieldInfo) else [item])]
        yield from _branches(kind, [*limits, *inner])
    else:
        yield annotation, list(limits)


def _type_name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return "choice" if len(choices) > 1 else str(choices[0])
    if get_origin(kind) is tuple:
        parts = ("…" if part is Ellipsis else _type_name(next(_branches(part, []))[0]) for part in get_args(kind))
        return f"[{', '.join(parts)}]"
    if get_origin(kind) is dict:
        return "{class: float}"
    return {NoneType: "null", str: "text"}.get(kind) or str(kind.__name__)


def _allowed(kind: Any, limits: list[Any]) -> str:
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return "one of " + ", ".join(map(str, choices)) if len(choices) > 1 else str(choices[0])
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        each = next(_allowed(*branch) for branch in _branches(parts[0], []))
        letters = "a, b, …" if parts[-1] is Ellipsis else ", ".join("abcdefgh"[: len(parts)])
        return f"[{letters}], each {each}"
    if get_origin(kind) is dict:
        return "{class: weight, …}, each weight " + next(_allowed(*b) for b in _branches(get_args(kind)[1], []))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}
    return ", ".join([names[kind], *_range(limits)])


def _range(limits: list[Any]) -> list[str]:
    """Limits as text: "at least 0 and below 1"; empty where there are none."""
    relations = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = [
        (word, getattr(limit, name)) for name, word in relations.items() for limit in limits if hasattr(limit, name)
    ]
    text = " and ".join(f"{word} {int(bound) if bound == int(bound) else bound}" for word, bound in bounds)
    if any(getattr(limit, "min_length", 0) for limit in limits):
        text = "not empty"
    for limit in limits:
        text = _EXAMPLES.get(getattr(limit, "pattern", None) or "", text)
    return [text] if text else []
