"""Detects the layout of the photos in a root, and fetches images at an address: all that follows reads local files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.sources.address import is_remote, join, shown
from classifier_training.data.sources.folder import list_class_folders, list_split_folders, split_folders
from classifier_training.data.sources.hub_parquet import list_hub_parquet
from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.remote import fetch
from classifier_training.data.sources.remote_photos import list_remote_photos
from classifier_training.data.sources.shards import list_shards
from classifier_training.data.sources.table import (
    TABLE_EXTENSIONS,
    Columns,
    find_annotations,
    list_split_tables,
    list_table,
)
from classifier_training.errors import DataError, MissingFileError
from classifier_training.files.text import did_you_mean
from classifier_training.types import Progress, Split

if TYPE_CHECKING:
    import pyarrow as pa

_THREADS: Final = 16  # they wait for the network
_AT_ONCE: Final = 4096


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


def with_local_images(listing: Listing, cache: Path, progress: Progress | None = None) -> Listing:
    """A listing whose images are local copies where they were files at an address.

    An image that has been fetched before is not requested again. One that does not exist keeps its address, and
    fails when it is read. ``progress`` reports how many have been fetched; it is not called where none is remote.

    Raises:
        DataError: An address cannot be reached, or the cache cannot be written.
    """
    import numpy as np
    import pyarrow as pa

    locations = listing.rows.column("place").combine_chunks()
    is_address = np.array([is_remote(location) for location in locations.dictionary.to_pylist()], bool)
    if not is_address.any():
        return listing
    rows = np.flatnonzero(is_address[locations.indices.to_numpy()])
    new_locations, names = locations.to_pylist(), listing.rows.column("name").to_pylist()
    addresses = [join(new_locations[row], names[row]) for row in rows]
    for done, (row, copy) in enumerate(zip(rows, _fetched(addresses, cache), strict=True), start=1):
        if copy is not None:
            new_locations[row], names[row] = str(copy.parent.parent), f"{copy.parent.name}/{copy.name}"
        if progress is not None:
            progress(done, len(rows))
    table = _replaced(listing.rows, "place", pa.array(new_locations, pa.string()).dictionary_encode())
    return replace(listing, rows=_replaced(table, "name", pa.array(names, pa.string())))


def _fetched(addresses: Sequence[str], cache: Path) -> Iterator[Path | None]:
    """The copy of every file, in order; None where the file does not exist."""

    def copy(address: str) -> Path | None:
        try:
            return fetch(address, cache)
        except MissingFileError:
            return None

    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(addresses), _AT_ONCE):
            yield from pool.map(copy, addresses[start : start + _AT_ONCE])


def _replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
