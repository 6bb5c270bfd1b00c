"""Tables of pictures: CSV, JSON lines or Parquet with an image, a label and an optional split column.

Class names are text, always: ``00``, ``1e3`` and ``no`` stay what stands in the file, and so does the empty text.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from classifier_training.data.sources.listing import SPLIT_OF_NAME, SPLITS, Listing, Split
from classifier_training.errors import DataError
from classifier_training.types import Sample

TABLE_EXTENSIONS: Final = (".jsonl", ".csv", ".parquet")
Row = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of a table's columns."""

    image: str = "image"
    label: str = "label"
    split: str = "split"


def find_annotations(folder: Path) -> Path | None:
    """The folder's ``annotations.{jsonl,csv,parquet}``, or None.

    Raises:
        DataError: There are several.
    """
    found = [path for suffix in TABLE_EXTENSIONS if (path := folder / f"annotations{suffix}").is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DataError(f"{folder} has both {names}; keep one of them")
    return found[0] if found else None


def list_table(path: Path, columns: Columns) -> Listing:
    """Lists a table file; with a split column it defines the splits, without one it is unsplit."""
    splits: dict[Split, list[Sample]] = {}
    unsplit: list[Sample] = []
    for number, row in _rows(path, columns):
        sample = _sample(path, number, row, columns)
        if columns.split in row:
            splits.setdefault(_split(path, number, row[columns.split], columns), []).append(sample)
        else:
            unsplit.append(sample)
    if splits and unsplit:
        raise DataError(
            f"{path}: {len(unsplit)} row(s) have no {columns.split!r}, the others do; give it to all or to none"
        )
    ordered = {split: splits[split] for split in SPLITS if split in splits}
    places = dict.fromkeys(ordered, str(path))
    return Listing(f"table {path.name}", splits=ordered, places=places, unsplit=unsplit)


def list_split_tables(tables: dict[Split, Path], columns: Columns) -> Listing:
    """Lists one table for each split; a split column in them is ignored, the folder decides."""
    splits = {
        split: [_sample(path, number, row, columns) for number, row in _rows(path, columns)]
        for split, path in tables.items()
    }
    names = ", ".join(f"{path.parent.name}/{path.name}" for path in tables.values())
    places = {split: str(path) for split, path in tables.items()}
    return Listing(f"one table a split ({names})", splits=splits, places=places)


def _sample(path: Path, number: int, row: Row, columns: Columns) -> Sample:
    image, label = row.get(columns.image), row.get(columns.label)
    if not image:
        raise DataError(f"{path}, row {number}: the column {columns.image!r} is empty")
    if label is None:
        raise DataError(f"{path}, row {number}: the column {columns.label!r} has no value")
    return Sample(str(path.parent / image), label)


def _split(path: Path, number: int, value: str | None, columns: Columns) -> Split:
    split = SPLIT_OF_NAME.get((value or "").strip().lower())
    if split is None:
        raise DataError(
            f"{path}, row {number}: {value!r} in the column {columns.split!r} is no split; allowed are"
            f" {', '.join(SPLIT_OF_NAME)}"
        )
    return split


def _rows(path: Path, columns: Columns) -> Iterator[tuple[int, Row]]:
    """The table's rows with their number as an editor shows it, every value as the text in the file."""
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is no table that can be read; allowed are {', '.join(readers)}")
    try:
        yield from reader(path, columns)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"cannot read the table {path}: {error.strerror or error}") from None


def _require(path: Path, present: list[str], columns: Columns) -> None:
    for name, setting in ((columns.image, "data.image_column"), (columns.label, "data.label_column")):
        if name not in present:
            raise DataError(
                f"{path} has no column {name!r}; its columns are {', '.join(map(repr, present)) or 'none'}; name the"
                f" right one with {setting}"
            )


def _csv_rows(path: Path, columns: Columns) -> Iterator[tuple[int, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        delimiter = max(",;\t", key=header.count)
        file.seek(0)
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            _require(path, list(reader.fieldnames or []), columns)
            for row in reader:
                if any(row.pop(None, ())):  # a name with the delimiter in it would shift the label
                    raise DataError(
                        f"{path}, row {reader.line_num}: more cells than columns; quote what holds a {delimiter!r}"
                    )
                yield reader.line_num, row
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.reader.line_num}: {error}") from None


def _jsonl_rows(path: Path, columns: Columns) -> Iterator[tuple[int, Row]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                # numbers keep the text that stands in the file: 1e3 is a class name, not 1000.0
                values = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}, line {number}: not JSON: {error.msg}") from None
            if not isinstance(values, dict):
                raise DataError(f"{path}, line {number}: not a JSON object")
            _require(path, list(values), columns)
            yield number, _texts(path, number, values, columns)


def _parquet_rows(path: Path, columns: Columns) -> Iterator[tuple[int, Row]]:
    from pyarrow import ArrowException, parquet

    try:
        file = parquet.ParquetFile(path)
        present = file.schema_arrow.names
        _require(path, present, columns)
        wanted = [name for name in (columns.image, columns.label, columns.split) if name in present]
        number = 0
        for batch in file.iter_batches(columns=wanted):
            for row in batch.to_pylist():
                number += 1
                yield number, _texts(path, number, row, columns)
    except ArrowException as error:
        raise DataError(f"{path} is no readable Parquet file: {str(error).splitlines()[0]}") from None


def _texts(path: Path, number: int, values: Mapping[str, Any], columns: Columns) -> Row:
    """The cells that matter, as text."""
    names = [name for name in (columns.image, columns.label, columns.split) if name in values]
    for name in names:
        if isinstance(values[name], list | dict | bytes):
            kind = type(values[name]).__name__
            raise DataError(f"{path}, row {number}: the column {name!r} holds a value of type {kind}, not text")
    return {name: _text(values[name]) for name in names}


def _text(value: Any) -> str | None:
    """A cell as text; None stays None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
