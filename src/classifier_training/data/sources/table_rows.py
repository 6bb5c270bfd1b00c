"""Reads the rows of a CSV, JSON lines or Parquet table, every cell as its text in the file, and checks cells."""

from __future__ import annotations

import csv
import difflib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifier_training.data.sources.address import shown
from classifier_training.data.sources.listing import SPLIT_OF_NAME
from classifier_training.errors import DataError, first_line
from classifier_training.types import Split

Row = Mapping[str, str | None]
Where = tuple[object, int]
"""The table, as messages show it, and the number of the row."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of a table's columns.

    Attributes:
        image: A path or an address.
        label: The class name.
        split: The split; a table need not have it.
        group: What must stay in one split together; None: no such column.
        weight: Sampling weight; None: no such column.
    """

    image: str = "image"
    label: str = "label"
    split: str = "split"
    group: str | None = None
    weight: str | None = None

    def required(self) -> dict[str, str]:
        """The setting that names each column which a table must have."""
        return {f"data.{name}_column": column for name, column in self._named() if name != "split"}

    def names(self) -> list[str]:
        """All of them."""
        return [column for _, column in self._named()]

    def _named(self) -> list[tuple[str, str]]:
        named = [(name, getattr(self, name)) for name in ("image", "label", "split", "group", "weight")]
        return [(name, column) for name, column in named if column is not None]


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table.

    Attributes:
        path: The file, or a copy of it.
        folder: What relative paths in it are relative to: a folder, or the address of one.
        address: Where it was fetched from; empty for a file of this machine.
    """

    path: Path
    folder: str
    address: str = ""

    def __str__(self) -> str:
        """As messages show it."""
        return shown(self.address) if self.address else str(self.path)


def table_rows(table: TableFile, columns: Columns) -> Iterator[tuple[int, Row]]:
    """Yields the rows of a table, with the number that an editor shows for each.

    A cell is the text in the file; None where it has no value, and absent where a row lacks it.

    Raises:
        DataError: The table cannot be read, or lacks a column.
    """
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    reader = readers.get(table.path.suffix.lower())
    if reader is None:
        raise DataError(f"{table} is not a table that can be read; allowed are {', '.join(readers)}")
    try:
        yield from reader(table, columns)
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"cannot read the table {table}: {error.strerror or error}") from None


def _require(table: TableFile, present: list[str], columns: Columns) -> None:
    for setting, name in columns.required().items():
        if name not in present:
            raise DataError(
                f"{table} has no column {name!r}; its columns are {', '.join(map(repr, present)) or 'none'}; name the"
                f" correct one with {setting}"
            )


def _csv_rows(table: TableFile, columns: Columns) -> Iterator[tuple[int, Row]]:
    with table.path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        delimiter = max(",;\t", key=header.count)
        file.seek(0)
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            _require(table, list(reader.fieldnames or []), columns)
            for row in reader:
                if any(row.pop(None, ())):  # a name with the delimiter in it would shift the label
                    raise DataError(
                        f"{table}, row {reader.line_num}: more cells than columns; quote what holds a {delimiter!r}"
                    )
                yield reader.line_num, row
        except csv.Error as error:
            raise DataError(f"{table}, line {reader.reader.line_num}: {error}") from None


def _jsonl_rows(table: TableFile, columns: Columns) -> Iterator[tuple[int, Row]]:
    wanted = columns.names()
    required = set(columns.required().values())
    # numbers keep their text: 1e3 is a class name, not 1000.0
    decode = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str).decode
    with table.path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                values = decode(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise DataError(f"{table}, line {number}: not JSON: {getattr(error, 'msg', error)}") from None
            if not isinstance(values, dict):
                raise DataError(f"{table}, line {number}: not a JSON object")
            if not required <= values.keys():
                _require(table, list(values), columns)
            yield number, _texts(table, number, values, wanted)


def _parquet_rows(table: TableFile, columns: Columns) -> Iterator[tuple[int, Row]]:
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(table.path) as file:
            present = file.schema_arrow.names
            _require(table, present, columns)
            wanted = [name for name in columns.names() if name in present]
            number = 0
            for batch in file.iter_batches(columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield number, _texts(table, number, row, wanted)
    except ArrowException as error:
        raise DataError(f"{table} is not a readable Parquet file: {first_line(error)}") from None


def _texts(table: TableFile, number: int, values: Mapping[str, Any], wanted: list[str]) -> Row:
    """The cells that matter, as text."""
    return {name: cell_text(values[name], (table, number), name) for name in wanted if name in values}


def fault(where: Where, what: str) -> DataError:
    """The error of one row."""
    table, number = where
    return DataError(f"{table}, row {number}: {what}")


def cell_text(value: Any, where: Where, column: str) -> str | None:
    """A cell as text; None stays None.

    Raises:
        DataError: It is a list, a mapping or bytes.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict | bytes):
        raise fault(where, f"the column {column!r} holds a value of type {type(value).__name__}, not text")
    return str(value)


def label_cell(label: str | None, where: Where, column: str, classes: Collection[str] | None) -> str:
    """The label of a row.

    Raises:
        DataError: The label is missing, or not one of the ``classes`` that there may be; None: any.
    """
    if label is None:
        raise fault(where, f"the column {column!r} has no value")
    if classes is not None and label not in classes:
        near = difflib.get_close_matches(label, classes, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise fault(where, f"{label!r} in the column {column!r} is not one of the {len(classes)} classes{hint}")
    return label


def split_cell(value: str | None, where: Where, column: str) -> Split:
    """The split of a row.

    Raises:
        DataError: It is not a split.
    """
    split = SPLIT_OF_NAME.get((value or "").strip().lower())
    if split is None:
        raise fault(where, f"{value!r} in the column {column!r} is not a split; allowed are {', '.join(SPLIT_OF_NAME)}")
    return split


def weight_cell(value: str | None, where: Where, column: str) -> float | None:
    """The sampling weight of a row, None where it has none.

    Raises:
        DataError: It is negative, infinite or not a number.
    """
    if value is None or not value.strip():
        return None
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise fault(where, f"{value!r} in the column {column!r} is not a weight; allowed are 0 and positive numbers")
    return weight
