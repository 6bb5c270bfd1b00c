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
        return _checked(_list_splits(root, folders, columns), root)
    warnings: list[str] = []
    samples = list_class_folders(root, warnings)
    return _checked(Listing("one folder a class, no splits", unsplit=samples, warnings=warnings), root)


def _list_splits(root: Path, folders: dict[Split, Path], columns: Columns) -> Listing:
    tables = {split: table for split, folder in folders.items() if (table := find_annotations(folder)) is not None}
    if not tables:
        return list_split_folders(root, folders)
    for split, folder in folders.items():
        if split not in tables:
            raise DataError(
                f"{folder} has no annotations file, but {next(iter(tables.values()))} exists; add or remove one"
            )
    return list_split_tables(tables, columns)


def _checked(listing: Listing, root: Path) -> Listing:
    samples = listing.samples
    if not samples:
        found = "".join(f" ({warning})" for warning in listing.warnings)
        raise DataError(
            f"no images in {root}{found}; expected <class>/<image>, {{train,val,test}}/<class>/<image> or"
            " annotations.csv"
        )
    for sample in samples:
        if not (_is_unicode(sample.label) and _is_unicode(sample.path)):
            # such a name could be written neither into the run's files nor into the exported model's class names
            raise DataError(f"the name of class {sample.label!a}, file {sample.path!a}, is no Unicode text; rename it")
    return listing


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
