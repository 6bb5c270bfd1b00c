"""Tables of images: CSV, JSON lines or Parquet with an image, a label and an optional split column.

Class names are text, always: ``00``, ``1e3`` and ``no`` stay as they are in the file.
An image is a path relative to the table's folder, an absolute one, or an address such as ``s3://bucket/cat.jpg``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Final

from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.sources.address import is_remote, split_address
from classifier_training.data.sources.cell_paths import NUM_FIRST_CELLS, CellPaths
from classifier_training.data.sources.listing import SPLIT_OF_NAME, Listing, RowWriter
from classifier_training.data.sources.locations import entries, name_of, show
from classifier_training.data.sources.remote import fetch
from classifier_training.data.sources.table_columns import TABLE_EXTENSIONS as TABLE_EXTENSIONS
from classifier_training.data.sources.table_columns import Columns as Columns
from classifier_training.data.sources.table_rows import (
    Row,
    TableFile,
    Where,
    label_cell,
    split_cell,
    table_rows,
    weight_cell,
)
from classifier_training.errors import DataError
from classifier_training.types import SPLITS, Split

_LONGEST_RUN: Final = 65_536


def find_table(folder: str, stem: str = "annotations") -> str | None:
    """The ``<stem>.{jsonl,csv,parquet}`` in a folder, a path or an address, or None.

    Raises:
        DataError: There are several.
    """
    by_name = {name_of(file): file for file in entries(folder).files}
    found = [by_name[name] for extension in TABLE_EXTENSIONS if (name := f"{stem}{extension}") in by_name]
    if len(found) > 1:
        raise DataError(f"{show(folder)} has both {' and '.join(map(name_of, found))}; keep one of them")
    return found[0] if found else None


def list_table(
    table: str | Path,
    columns: Columns,
    *,
    cache: Path | None = None,
    classes: Collection[str] | None = None,
    splits_by_folder: bool = False,
) -> Listing:
    """Lists a table; with a split column it defines the splits, without one it is unsplit.

    Args:
        table: A file, or the address of one.
        columns: Names of its columns.
        cache: The cache folder that a remote table is fetched into; None: the user's.
        classes: The class names that there may be; None: any.
        splits_by_folder: Where no column gives the splits and all paths begin with a split folder, that is the split.

    Raises:
        DataError: The table cannot be read, or a row of it is invalid.
    """
    file = open_table(table, cache)
    rows = _TableRows(file, columns, classes)
    rows.by_folder = splits_by_folder and _all_in_split_folders(file, columns)
    rows.add_all()
    if rows.splits and rows.num_unsplit:
        raise DataError(
            f"{file}: {rows.num_unsplit} row(s) have no {columns.split!r}, the others do; give it to all or to none"
        )
    locations = {split: str(file) for split in SPLITS if split in rows.splits}
    layout = f"table {_shown_parts(table)[-1]}"
    return Listing(layout, rows.writer.table(), locations, rows.warnings(), watched=[str(file.path)])


def list_split_tables(
    tables: Mapping[Split, str | Path],
    columns: Columns,
    *,
    cache: Path | None = None,
    classes: Collection[str] | None = None,
) -> Listing:
    """Lists one table for each split, as `list_table`; a split column in them is ignored, the folder decides."""
    writer, warnings = RowWriter(), list[str]()
    files = {split: open_table(tables[split], cache) for split in SPLITS if split in tables}
    for split, file in files.items():
        rows = _TableRows(file, columns, classes, writer, split)
        rows.add_all()
        warnings += rows.warnings()
    names = ", ".join("/".join(_shown_parts(table)[-2:]) for table in tables.values())
    locations = {split: str(file) for split, file in files.items()}
    watched = [str(file.path) for file in files.values()]
    return Listing(f"one table a split ({names})", writer.table(), locations, warnings, watched)


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
        self.by_folder = False
        self._file = file
        self._columns = columns
        self._classes = classes
        self._split = split
        self._names: list[str] = []
        self._labels: list[str] = []
        self._groups: list[str | None] = []
        self._weights: list[float | None] = []
        self._notes: list[str] = []
        self._num_unlabelled = 0

    def add_all(self) -> None:
        run: tuple[str, Split | None] | None = None
        for location, name, split, where, row in self._checked():
            label = label_cell(row.get(self._columns.label), where, self._columns, self._classes)
            if label is None:
                self._num_unlabelled += 1
                continue
            if split is None:
                self.num_unsplit += 1
            elif self._split is None:
                self.splits.add(split)
            if run != (location, split) or len(self._names) >= _LONGEST_RUN:
                self._write(run)
                run = (location, split)
            self._names.append(name)
            self._labels.append(label)
            if self._columns.group is not None:
                self._groups.append(row.get(self._columns.group) or None)
            if self._columns.weight is not None:
                self._weights.append(weight_cell(row.get(self._columns.weight), where, self._columns.weight))
        self._write(run)

    def warnings(self) -> list[str]:
        """What the user should know about the table that was read."""
        unlabelled = f"{self._num_unlabelled} row(s) of {self._file} have no label and are left out"
        return [*self._notes, *([unlabelled] if self._num_unlabelled else [])]

    def _checked(self) -> Iterator[tuple[str, str, Split | None, Where, Row]]:
        """Location, name and split of every row, where it is, and its cells."""
        rows = table_rows(self._file, self._columns, needs_split=self._split is None, hints=self._notes)
        first = list(islice(rows, NUM_FIRST_CELLS))
        paths = CellPaths(self._file, self._columns.image, [row.get(self._columns.image) or "" for _, row in first])
        self._notes += paths.notes
        for number, row in chain(first, rows):
            where = self._file, number
            location, name = paths.locate(where, row.get(self._columns.image))
            split = self._split
            if split is None and self._columns.split in row:
                split = split_cell(row[self._columns.split], where, self._columns.split)
            elif split is None and self.by_folder:
                split = _folder_split(row.get(self._columns.image))
            yield location, name, split, where, row

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


def _all_in_split_folders(file: TableFile, columns: Columns) -> bool:
    """Whether the paths of a table without a split column all begin with a folder such as ``train/``."""
    found = [
        None if columns.split in row else _folder_split(row.get(columns.image)) for _, row in table_rows(file, columns)
    ]
    return "train" in found and None not in found


def _folder_split(image: str | None) -> Split | None:
    first, slash, _ = (image or "").replace("\\", "/").removeprefix("./").partition("/")
    return SPLIT_OF_NAME.get(first.lower()) if slash else None


def open_table(table: str | Path, cache: Path | None) -> TableFile:
    """A table, or the copy of one at an address.

    Raises:
        DataError: It cannot be fetched.
    """
    if not is_remote(str(table)):
        path = fetch(str(table), cache or cache_folder())
        return TableFile(path, str(path.parent))
    address = str(table)
    copy = fetch(address, cache or cache_folder(), revalidate=True)
    return TableFile(copy, split_address(address)[0], address)


def _shown_parts(table: str | Path) -> list[str]:
    location = str(table)
    return show(location).partition("?")[0].replace("\\", "/").split("/")
