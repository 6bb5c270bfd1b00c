"""Reading files that may be missing, half-written, damaged, of another version, or made to do harm.

What is wrong with a file becomes one sentence for a person, and the page is made without it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeGuard, TypeVar

from classifier_training.files import tables
from classifier_training.files.credentials import without_credentials
from classifier_training.files.text import plain_text

MAX_BYTES = 256 * 2**20
MAX_ITEMS = 1_000_000
FORMAT = 1

Value = TypeVar("Value")


class DamagedFileError(ValueError):
    """A file does not hold what it should. Never leaves this package."""


@dataclass(slots=True)
class Reader:
    """Reads the files of a folder, and keeps one sentence for each that gives nothing.

    Attributes:
        root: The folder.
        missing: The sentences.
    """

    root: Path
    missing: list[str] = field(default_factory=list)

    def read(self, path: Path, parse: Callable[[Path], Value], absent: str | None = None) -> Value | None:
        """What ``parse`` makes of a file; None, and a sentence, where it cannot.

        Args:
            path: The file.
            parse: Raises `DamagedFileError` or an `OSError`.
            absent: What the page lacks without the file, for a person; None: nothing worth a sentence.
        """
        try:
            if path.is_file():
                return parse(path)
        except DamagedFileError as error:
            self.missing.append(f"{self.name(path)} {error}; it is left out")
        except RecursionError:
            self.missing.append(f"{self.name(path)} is nested too deeply; it is left out")
        except OSError as error:
            self.missing.append(f"{self.name(path)} cannot be read: {error.strerror}; it is left out")
        else:
            if absent is not None:
                self.missing.append(f"{self.name(path)} is not there: {absent}")
        return None

    def name(self, path: Path) -> str:
        """A file's path below the folder, for a person."""
        return plain_text(path.relative_to(self.root).as_posix())


class Fields:
    """The values of a JSON object by key, each checked for its type.

    Args:
        values: The object.
        where: What it is, for a person; empty for the whole file.
    """

    def __init__(self, values: Any, where: str = "") -> None:
        if not isinstance(values, dict):
            raise DamagedFileError(f"holds {_shown(values)}{_of(where)} where an object is expected")
        self.values: dict[str, Any] = values
        self.where = where

    def text(self, key: str) -> str:
        """A text."""
        value = self.values.get(key)
        return plain_text(value) if isinstance(value, str) else self._refuse(key, "a text")

    def text_or_none(self, key: str) -> str | None:
        """A text, or None for null and where there is none."""
        return None if self.values.get(key) is None else self.text(key)

    def number(self, key: str) -> float:
        """A finite number."""
        value = self.values.get(key)
        return float(value) if is_number(value) else self._refuse(key, "a number")

    def number_or_none(self, key: str) -> float | None:
        """A finite number, or None for null and where there is none."""
        return None if self.values.get(key) is None else self.number(key)

    def fraction(self, key: str) -> float:
        """A number in [0, 1]."""
        value = self.number(key)
        return value if 0 <= value <= 1 else self._refuse(key, "a number from 0 to 1")

    def fraction_or_none(self, key: str) -> float | None:
        """A number in [0, 1], or None for null and where there is none."""
        return None if self.values.get(key) is None else self.fraction(key)

    def count(self, key: str) -> int:
        """A whole number from 0 up."""
        value = self.values.get(key)
        return value if is_count(value) else self._refuse(key, "a whole number from 0 up")

    def count_or_none(self, key: str) -> int | None:
        """A whole number from 0 up, or None for null and where there is none."""
        return None if self.values.get(key) is None else self.count(key)

    def flag(self, key: str) -> bool:
        """A truth value."""
        value = self.values.get(key)
        return value if isinstance(value, bool) else self._refuse(key, "true or false")

    def interval_or_none(self, key: str) -> tuple[float, float] | None:
        """Two ascending numbers in [0, 1], or None for null and where there is none."""
        value = self.values.get(key)
        if value is None:
            return None
        if not (isinstance(value, list) and len(value) == 2 and all(map(is_number, value))):
            self._refuse(key, "two numbers")
        low, high = map(float, value)
        return (low, high) if 0 <= low <= high <= 1 else self._refuse(key, "two ascending numbers from 0 to 1")

    def items(self, key: str, at_most: int = MAX_ITEMS) -> list[Any]:
        """A list."""
        value = self.values.get(key)
        if not isinstance(value, list):
            self._refuse(key, "a list")
        return value if len(value) <= at_most else self._refuse(key, f"a list of at most {at_most} items")

    def objects(self, key: str, at_most: int = MAX_ITEMS) -> list[Fields]:
        """A list of objects."""
        items = enumerate(self.items(key, at_most))
        return [Fields(value, f"{key}[{position}]{_of(self.where)}") for position, value in items]

    def object(self, key: str) -> Fields:
        """An object."""
        return Fields(self.values.get(key), f"{key}{_of(self.where)}")

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        items = self.items(key)
        if not all(isinstance(item, str) for item in items):
            self._refuse(key, "a list of texts")
        return tuple(map(plain_text, items))

    def counts(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers from 0 up."""
        items = self.items(key)
        return tuple(items) if all(map(is_count, items)) else self._refuse(key, "a list of whole numbers from 0 up")

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers."""
        items = self.items(key)
        return tuple(map(float, items)) if all(map(is_number, items)) else self._refuse(key, "a list of numbers")

    def _refuse(self, key: str, expected: str) -> NoReturn:
        raise DamagedFileError(f"has {_shown(self.values.get(key))} as {key}{_of(self.where)} where {expected} belongs")


def read_json(path: Path) -> Any:
    """The value in a JSON file; texts and numbers in it as they are.

    Raises:
        DamagedFileError: It is no JSON, or too large.
    """
    _check_size(path)
    try:
        return json.loads(path.read_bytes())
    except ValueError:  # JSONDecodeError, UnicodeDecodeError, and a number of thousands of digits
        raise DamagedFileError("is no JSON, perhaps half of it is lost") from None


def read_fields(path: Path) -> Fields:
    """The object in a JSON file that says which format it is of.

    Raises:
        DamagedFileError: It is no JSON object of this format.
    """
    fields = Fields(read_json(path))
    found = fields.values.get("format")
    if found != FORMAT:
        raise DamagedFileError(f"is of format {_shown(found)}, and this version reads format {FORMAT}")
    return fields


def read_rows(path: Path) -> Iterator[list[str]]:
    """The rows of a CSV file, the first of them its header; all have as many cells.

    Raises:
        DamagedFileError: It is no such table, or too large.
    """
    _check_size(path)
    try:
        yield from tables.read_rows(path)
    except tables.TableError as error:
        raise DamagedFileError(str(error)) from None


def plain_value(value: Any) -> Any:
    """A value of JSON or YAML with plain texts without passwords, and None for numbers that are not finite."""
    if isinstance(value, dict):
        return {plain_text(str(key)): plain_value(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain_value(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return without_credentials(plain_text(value)) if isinstance(value, str) else value


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a JSON value is a number that float64 can hold."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**1000
    return isinstance(value, float) and math.isfinite(value)


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a JSON value is a whole number that int64 can hold, from 0 up."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _check_size(path: Path) -> None:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DamagedFileError(f"has {size} bytes, and {MAX_BYTES} are the most that is read")


def _shown(value: Any) -> str:
    """A value in a sentence, not at length."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = (
        json.dumps(value, ensure_ascii=True) if not isinstance(value, int) or abs(value) < 10**18 else "a huge number"
    )
    return text if len(text) <= 40 else f"{text[:40]}…"


def _of(where: str) -> str:
    return f" of {where}" if where else ""
