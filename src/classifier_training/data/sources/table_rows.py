"""Reads the rows of a CSV, JSON lines or Parquet table, every cell as its text in the file, and checks cells."""

from __future__ import annotations

import contextlib
import csv
import difflib
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from classifier_training.data.sources.address import shown
from classifier_training.data.sources.class_names import match_class, plain_name
from classifier_training.data.sources.listing import SPLIT_OF_NAME
from classifier_training.data.sources.table_columns import Columns as Columns
from classifier_training.data.sources.table_columns import find_columns
from classifier_training.errors import DataError, first_line
from classifier_training.types import Split

Row = Mapping[str, str | None]
Where = tuple[object, int]
"""The table, as messages show it, and the number of the row."""
Find = Callable[[Sequence[str]], dict[str, str]]
"""Given the columns of a table: the one that each name means."""


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


def table_rows(
    table: TableFile, columns: Columns, *, needs_split: bool = True, hints: list[str] | None = None
) -> Iterator[tuple[int, Row]]:
    """Yields the rows of a table, with the number that an editor shows for each.

    A cell is the text in the file; None where it has no value, and absent where a row lacks it. Its name is that of
    ``columns``. Other arguments as of `find_columns`.

    Raises:
        DataError: The table cannot be read, or lacks a column.
    """
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    reader = readers.get(table.path.suffix.lower())
    if reader is None:
        raise DataError(f"{table} is not a table that can be read; allowed are {', '.join(readers)}")

    def find(present: Sequence[str]) -> dict[str, str]:
        return find_columns(table, present, columns, needs_split=needs_split, hints=hints)

    with _one_line(table):
        yield from reader(table, find)


def column_names(table: TableFile) -> list[str]:
    """The columns of a table; of JSON lines, those of the first one.

    Raises:
        DataError: It cannot be read.
    """
    with _one_line(table):
        if table.path.suffix.lower() == ".parquet":
            with _parquet(table) as file:
                return list(file.schema_arrow.names)
        with table.path.open(encoding="utf-8-sig", newline="") as lines:
            if table.path.suffix.lower() == ".csv":
                return next(_csv_reader(lines), [])
            first = next((line for line in lines if line.strip()), "{}")
            try:
                values = json.loads(first)
            except ValueError:
                return []
            return list(values) if isinstance(values, dict) else []


@contextlib.contextmanager
def _one_line(table: TableFile) -> Iterator[None]:
    """Turns what goes wrong while a table is read into one line."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"cannot read the table {table}: {error.strerror or error}") from None


def _csv_reader(file: IO[str]) -> Any:
    header = file.readline()
    delimiter = max(",;\t", key=header.count)
    file.seek(0)
    return csv.reader(file, delimiter=delimiter, strict=True)


def _csv_rows(table: TableFile, find: Find) -> Iterator[tuple[int, Row]]:
    with table.path.open(encoding="utf-8-sig", newline="") as file:
        reader = _csv_reader(file)
        try:
            header: list[str] = next(reader, [])
            cells = [(name, header.index(column)) for name, column in find(header).items()]
            for row in reader:
                if not row:
                    continue
                if any(row[len(header) :]):  # a name with the delimiter in it would shift the label
                    raise DataError(
                        f"{table}, row {reader.line_num}: more cells than columns; quote what holds a"
                        f" {reader.dialect.delimiter!r}"
                    )
                yield reader.line_num, {name: row[at] if at < len(row) else None for name, at in cells}
        except csv.Error as error:
            raise DataError(f"{table}, line {reader.line_num}: {error}") from None


def _jsonl_rows(table: TableFile, find: Find) -> Iterator[tuple[int, Row]]:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(found)
        if len(values) < len(found):
            find([name for name, _ in found])  # refuses two of one name
        return values

    # numbers keep their text: 1e3 is a class name, not 1000.0
    decode = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=pairs).decode
    named: dict[str, str] = {}
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
            if not named or not values.keys() >= set(named.values()):
                named = find(list(values))
            yield number, _texts(table, number, values, named)


def _parquet_rows(table: TableFile, find: Find) -> Iterator[tuple[int, Row]]:
    with _parquet(table) as file:
        named = find(file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(columns=sorted(set(named.values()))):
            for row in batch.to_pylist():
                number += 1
                yield number, _texts(table, number, row, named)


@contextlib.contextmanager
def _parquet(table: TableFile) -> Iterator[Any]:
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(table.path) as file:
            yield file
    except ArrowException as error:
        raise DataError(f"{table} is not a readable Parquet file: {first_line(error)}") from None


def _texts(table: TableFile, number: int, values: Mapping[str, Any], named: Mapping[str, str]) -> Row:
    """The cells that matter, as text, by the names that were looked for."""
    return {
        name: cell_text(values[column], (table, number), column) for name, column in named.items() if column in values
    }


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


def label_cell(label: str | None, where: Where, columns: Columns, classes: Collection[str] | None) -> str | None:
    """The label of a row; None: it has none, and may be left out.

    Raises:
        DataError: The label is missing, or not one of the ``classes`` that there may be; None: any.
    """
    if label is None or not plain_name(label):
        if columns.on_missing_label == "skip":
            return None
        what = "has no value" if label is None else "is empty"
        raise fault(
            where,
            f"the column {columns.label!r} {what}; write the label, or leave such rows out with"
            " data.on_missing_label=skip",
        )
    if classes is not None and match_class(label, classes) is None:
        near = difflib.get_close_matches(label, classes, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise fault(where, f"{label!r} in the column {columns.label!r} is not one of the {len(classes)} classes{hint}")
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
