"""Detects the layout of the photos in a root."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.sources.address import is_remote, shown
from classifier_training.data.sources.folder import list_class_folders, list_split_folders, split_folders
from classifier_training.data.sources.hub_parquet import list_hub_parquet
from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.remote_images import with_local_images
from classifier_training.data.sources.remote_photos import list_remote_photos
from classifier_training.data.sources.shards import list_shards
from classifier_training.data.sources.table import (
    TABLE_EXTENSIONS,
    Columns,
    find_annotations,
    list_split_tables,
    list_table,
)
from classifier_training.errors import DataError
from classifier_training.files.nearest import did_you_mean
from classifier_training.types import Progress, Split


def list_photos(
    root: str | Path,
    columns: Columns | None = None,
    *,
    cache: Path | None = None,
    classes: Collection[str] | None = None,
    scanning: Progress | None = None,
    fetching: Progress | None = None,
) -> Listing:
    """Lists the labelled images of a source; those at an address are fetched into the cache.

    Detected, in this order: an address; tar shards; Parquet files that hold images; a table file; a folder with
    ``annotations.*``; split folders with ``annotations.*`` or with one folder per class; one folder a class.

    Args:
        root: A folder, a table file, shards, or the address of any of them.
        columns: Names of a table's columns.
        cache: The cache folder; None: the user's.
        classes: The class names that a table may have; None: any.
        scanning: Reports how many class folders, shards or files have been scanned.
        fetching: Reports how many remote images have been fetched.

    Raises:
        DataError: The root is missing, empty, ambiguous, or of no known layout.
    """
    columns, cache, location = columns or Columns(), cache or cache_folder(), os.fspath(root)
    if is_remote(location):
        listing = list_remote_photos(location, columns, cache=cache, progress=scanning, classes=classes)
    else:
        packed = _list_packed(location, columns, cache, classes, scanning)
        listing = packed if packed is not None else _list_files(Path(location), columns, classes, scanning)
    return with_local_images(_checked(listing, shown_root(location)), cache, fetching)


def shown_root(root: str) -> str:
    """A root for a message: without the password or the signature that an address may hold."""
    return shown(root) if is_remote(root) else root


def _list_packed(
    root: str, columns: Columns, cache: Path, classes: Collection[str] | None, scanning: Progress | None
) -> Listing | None:
    """Images in tar shards or Parquet files; None where the root has none."""
    if Path(root).is_dir() and find_annotations(Path(root)) is not None:
        return None
    shards = list_shards(root, cache=cache, progress=scanning)
    if shards is not None:
        return shards
    return list_hub_parquet(root, columns, cache=cache, progress=scanning, classes=classes)


def _list_files(root: Path, columns: Columns, classes: Collection[str] | None, scanning: Progress | None) -> Listing:
    if root.is_file():
        if root.suffix.lower() not in TABLE_EXTENSIONS:
            known = ", ".join((*TABLE_EXTENSIONS, ".tar"))
            raise DataError(f"{root} is a file, but not a table; allowed are a folder or {known}")
        return list_table(root, columns, classes=classes)
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; name a folder of photos or a table file{did_you_mean(root)}")
    table = find_annotations(root)
    if table is not None:
        return list_table(table, columns, classes=classes)
    folders = split_folders(root)
    return _list_splits(root, folders, columns, classes, scanning) if folders else list_class_folders(root, scanning)


def _list_splits(
    root: Path,
    folders: dict[Split, Path],
    columns: Columns,
    classes: Collection[str] | None,
    progress: Progress | None,
) -> Listing:
    tables = {split: table for split, folder in folders.items() if (table := find_annotations(folder)) is not None}
    if not tables:
        return list_split_folders(root, folders, progress)
    for split, folder in folders.items():
        if split not in tables:
            raise DataError(
                f"{folder} has no annotations file, but {next(iter(tables.values()))} exists; add or remove one"
            )
    return list_split_tables(tables, columns, classes=classes)


def _checked(listing: Listing, root: str) -> Listing:
    if not listing.rows.num_rows:
        found = "".join(f" ({warning})" for warning in listing.warnings)
        raise DataError(
            f"no images in {root}{found}; expected <class>/<image>, {{train,val,test}}/<class>/<image> or"
            " annotations.csv"
        )
    return listing
