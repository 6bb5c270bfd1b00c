"""Looks at a root and tells how the photos lie in it."""

from __future__ import annotations

from pathlib import Path

from classifier_training.data.sources.folder import list_class_folders, list_split_folders, split_folders
from classifier_training.data.sources.listing import Listing, Split
from classifier_training.data.sources.table import (
    TABLE_EXTENSIONS,
    Columns,
    find_annotations,
    list_split_tables,
    list_table,
)
from classifier_training.errors import DataError


def list_photos(root: Path, columns: Columns | None = None) -> Listing:
    """Lists the labelled pictures of a folder or a table file.

    Recognised, in this order: a table file; a folder with ``annotations.*``; split folders with ``annotations.*``
    or with one folder a class; one folder a class.

    Args:
        root: A folder, or a csv, jsonl or parquet file.
        columns: Names of a table's columns.

    Raises:
        DataError: The root is missing, empty, ambiguous, or of no known layout.
    """
    columns = columns or Columns()
    if root.is_file():
        if root.suffix.lower() not in TABLE_EXTENSIONS:
            raise DataError(f"{root} is a file, but not a table; allowed are a folder or {', '.join(TABLE_EXTENSIONS)}")
        return _checked(list_table(root, columns), root)
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; name a folder of photos or a table file")
    table = find_annotations(root)
    if table is not None:
        return _checked(list_table(table, columns), root)
    folders = split_folders(root)
    if folders:
        return _checked(_list_splits(folders, columns), root)
    warnings: list[str] = []
    samples = list_class_folders(root, warnings)
    return _checked(Listing("one folder a class, no splits", unsplit=samples, warnings=warnings), root)


def _list_splits(folders: dict[Split, Path], columns: Columns) -> Listing:
    tables = {split: table for split, folder in folders.items() if (table := find_annotations(folder)) is not None}
    if not tables:
        return list_split_folders(folders)
    for split, folder in folders.items():
        if split not in tables:
            raise DataError(
                f"{folder} has no annotations file, but {next(iter(tables.values()))} exists; add or remove one"
            )
    return list_split_tables(tables, columns)


def _checked(listing: Listing, root: Path) -> Listing:
    if not listing.unsplit and not any(listing.splits.values()):
        raise DataError(
            f"no images in {root}; expected <class>/<image>, {{train,val,test}}/<class>/<image> or annotations.csv"
        )
    return listing
