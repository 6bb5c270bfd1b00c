"""Tables of images: CSV, JSON lines or Parquet with an image, a label and an optional split column.

Class names are text, always: ``00``, ``1e3`` and ``no`` stay as they are in the file, and so does the empty text.
An image is a path relative to the table's folder, an absolute one, or an address such as ``s3://bucket/cat.jpg``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.sources.address import is_remote, resolve, split_address
from classifier_training.data.sources.listing import Listing, RowWriter
from classifier_training.data.sources.remote import fetch
from classifier_training.data.sources.table_rows import Columns as Columns
from classifier_training.data.sources.table_rows import (
    Row,
    TableFile,
    Where,
    fault,
    label_cell,
    split_cell,
    table_rows,
    weight_cell,
)
from classifier_training.errors import DataError
from classifier_training.types import SPLITS, Split

TABLE_EXTENSIONS: Final = (".jsonl", ".csv", ".parquet")
_LONGEST_RUN: Final = 65_536


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


def list_table(
    table: str | Path, columns: Columns, *, cache: Path | None = None, classes: Collection[str] | None = None
) -> Listing:
    """Lists a table; with a split column it defines the splits, without one it is unsplit.

    Args:
        table: A file, or the address of one.
        columns: Names of its columns.
        cache: The cache folder that a remote table is fetched into; None: the user's.
        classes: The class names that there may be; None: any.

    Raises:
        DataError: The table cannot be read, or a row of it is invalid.
    """
    file = _open(table, cache)
    rows = _TableRows(file, columns, classes)
    rows.add_all()
    if rows.splits and rows.num_unsplit:
        raise DataError(
            f"{file}: {rows.num_unsplit} row(s) have no {columns.split!r}, the others do; give it to all or to none"
        )
    locations = {split: str(file) for split in SPLITS if split in rows.splits}
    return Listing(f"table {_parts(table)[-1]}", rows.writer.table(), locations, watched=[str(file.path)])


def list_split_tables(
    tables: Mapping[Split, str | Path],
    columns: Columns,
    *,
    cache: Path | None = None,
    classes: Collection[str] | None = None,
) -> Listing:
    """Lists one table for each split, as `list_table`; a split column in them is ignored, the folder decides."""
    writer = RowWriter()
    files = {split: _open(tables[split], cache) for split in SPLITS if split in tables}
    for split, file in files.items():
        _TableRows(file, columns, classes, writer, split).add_all()
    names = ", ".join("/".join(_parts(table)[-2:]) for table in tables.values())
    locations = {split: str(file) for split, file in files.items()}
    watched = [str(file.path) for file in files.values()]
    return Listing(f"one table a split ({names})", writer.table(), locations, watched=watched)


class _TableRows:
    """Checks the rows of one table and adds them to a writer, those of one folder that follow each other at once."""

    def __init__(
        self,
        file: TableFile,
        columns: Columns,
        classes: Collection[str] | None,
        writer: RowWriter | None = None,
        split: Split | None = None,
    ) -> None:
        self.writer = writer or RowWriter()
        self.splits: set[Split] = set()
        self.num_unsplit = 0
        self._file = file
        self._columns = columns
        self._classes = classes
        self._split = split
        self._names: list[str] = []
        self._labels: list[str] = []
        self._groups: list[str | None] = []
        self._weights: list[float | None] = []

    def add_all(self) -> None:
        run: tuple[str, Split | None] | None = None
        for location, name, split, where, row in self._checked():
            if run != (location, split) or len(self._names) >= _LONGEST_RUN:
                self._write(run)
                run = (location, split)
            self._names.append(name)
            self._labels.append(label_cell(row.get(self._columns.label), where, self._columns.label, self._classes))
            if self._columns.group is not None:
                self._groups.append(row.get(self._columns.group) or None)
            if self._columns.weight is not None:
                self._weights.append(weight_cell(row.get(self._columns.weight), where, self._columns.weight))
        self._write(run)

    def _checked(self) -> Iterator[tuple[str, str, Split | None, Where, Row]]:
        """Location, name and split of every row, where it is, and its cells."""
        for number, row in table_rows(self._file, self._columns):
            where = self._file, number
            location, name = self._location(where, row.get(self._columns.image))
            split = self._split
            if split is None and self._columns.split in row:
                split = split_cell(row[self._columns.split], where, self._columns.split)
                self.splits.add(split)
            elif split is None:
                self.num_unsplit += 1
            yield location, name, split, where, row

    def _location(self, where: Where, image: str | None) -> tuple[str, str]:
        if not image:
            raise fault(where, f"the column {self._columns.image!r} is empty")
        if "://" in image and is_remote(image):
            return split_address(image)
        if self._file.address:
            return split_address(resolve(self._file.folder, image))
        return os.path.split(os.path.join(self._file.folder, image))  # noqa: PTH118 - a Path a row takes minutes

    def _write(self, run: tuple[str, Split | None] | None) -> None:
        if run is None:
            return
        location, split = run
        columns = self._columns
        self.writer.add(
            location,
            self._names,
            self._labels,
            split=split,
            groups=self._groups if columns.group is not None else None,
            weights=self._weights if columns.weight is not None else None,
        )
        self._names, self._labels, self._groups, self._weights = [], [], [], []


def _open(table: str | Path, cache: Path | None) -> TableFile:
    if not is_remote(str(table)):
        path = Path(table)
        return TableFile(path, str(path.parent))
    address = str(table)
    copy = fetch(address, cache or cache_folder(), revalidate=True)
    return TableFile(copy, split_address(address)[0], address)


def _parts(table: str | Path) -> list[str]:
    return str(table).replace("\\", "/").split("/")
