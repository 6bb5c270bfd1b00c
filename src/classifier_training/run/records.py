"""JSON files as dataclasses: one record a file, defined next to its writer and read by everyone else through here.

A file may be missing, half-written, damaged, of another version, or made to do harm: whatever is wrong with it becomes
one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from classifier_training.files.atomic import write_json
from classifier_training.files.tables import TableError, read_rows

if TYPE_CHECKING:
    from pydantic import ValidationError

FORMAT: Final = 1
MAX_BYTES: Final = 256 * 2**20
MAX_ITEMS: Final = 1_000_000
_MAX_SHOWN: Final = 40  # letters of a value or a path within a file in a sentence

Item = TypeVar("Item")
Record = TypeVar("Record")


class Limits:
    """Limits of a value in a record, by their names in pydantic's schemas.

    Whoever writes a record needs no pydantic: an ONNX file is scored where it is not installed.
    """

    def __init__(self, **limits: Any) -> None:
        self.limits = limits

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return {**handler(source), **self.limits}


class _Ascending:
    """Low end before high end."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self.check, handler(source))

    @staticmethod
    def check(interval: tuple[float, float]) -> tuple[float, float]:
        if interval[0] > interval[1]:
            raise ValueError("has an interval whose ends are not ascending")
        return interval


Format = Literal[1]
Count = Annotated[int, Limits(ge=0, lt=2**63)]
"""A whole number that int64 can hold."""
Number = Annotated[float, Limits(allow_inf_nan=False)]
Share = Annotated[float, Limits(ge=0, le=1)]
Interval = Annotated[tuple[Share, Share], _Ascending()]
"""Low and high end, shares."""
Items = Annotated[tuple[Item, ...], Limits(fail_fast=True, max_length=MAX_ITEMS)]
"""A list; the first wrong item of a million is enough to refuse it."""


class DamagedFileError(ValueError):
    """A file does not hold what it should; the message continues a sentence that begins with the file's name."""


def write_record(path: Path, record: Any, *, durable: bool = True) -> None:
    """Writes a record as JSON, atomically; arguments as of `write_json`."""
    write_json(path, to_json(record), durable=durable)


def to_json(value: Any) -> Any:
    """A record as JSON holds it; a field's metadata may name another key, its ``alias``."""
    if is_dataclass(value):
        return {one.metadata.get("alias", one.name): to_json(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {key: to_json(one) for key, one in value.items()}
    return [to_json(one) for one in value] if isinstance(value, list | tuple) else value


def read_record(path: Path, kind: type[Record]) -> Record:
    """Reads a JSON file into a dataclass; values are not converted, and unknown keys are ignored.

    Args:
        path: The file.
        kind: The dataclass. Its ``__post_init__`` may raise a `ValueError` whose message is the end of a sentence.

    Raises:
        DamagedFileError: The file does not hold such a record, or is too large.
        OSError: The file cannot be read.
    """
    from pydantic import TypeAdapter, ValidationError

    _check_size(path)
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        raise DamagedFileError(_sentence(error)) from None


def read_table(path: Path) -> Iterator[list[str]]:
    """The rows of a CSV file, the first of them its header; all have as many cells.

    Raises:
        DamagedFileError: The file is not such a table, or is too large.
        OSError: The file cannot be read.
    """
    _check_size(path)
    try:
        yield from read_rows(path)
    except TableError as error:
        raise DamagedFileError(str(error)) from None


def _check_size(path: Path) -> None:
    """Refuses a file that is too large to be one of ours."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DamagedFileError(f"has {size} bytes, and at most {MAX_BYTES} are read")


def _sentence(error: ValidationError) -> str:
    """The fault that matters most: another format explains all others."""
    faults = error.errors(include_url=False, include_context=False)
    fault = next((one for one in faults if one["loc"] == ("format",)), faults[0])
    message = fault["msg"].removeprefix("Value error, ")
    where = ".".join(map(str, fault["loc"]))[:_MAX_SHOWN]
    if fault["type"] == "json_invalid":
        return "is not valid JSON, perhaps half of it is lost"
    if where == "format":
        return f"is of format {_shown(fault['input'])}, and this version reads format {FORMAT}"
    if fault["type"] == "missing":
        return f"has no {where}"
    if fault["type"] == "value_error":
        return message + (f", in {where}" if where else "")
    as_where = f" as {where}" if where else ""
    return f"has {_shown(fault['input'])}{as_where}: {message[:1].lower()}{message[1:]}"


def _shown(value: Any) -> str:
    """A value in a sentence, not at length."""
    if isinstance(value, dict | list | tuple):
        return "an object" if isinstance(value, dict) else "a list"
    text = "a huge number" if isinstance(value, int) and abs(value) >= 10**18 else json.dumps(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
