"""Detects the layout of the photos in a root, and fetches images at an address: all that follows reads local files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.sources.address import (
    is_pattern,
    is_remote,
    join,
    readable_root,
    shown,
    split_address,
    without_query,
)
from classifier_training.data.sources.addresses_of_data import is_of_this_machine
from classifier_training.data.sources.class_names import with_plain_names
from classifier_training.data.sources.folder_layout import FolderLayout
from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.locations import extension_of, name_of, show
from classifier_training.data.sources.remote import fetch
from classifier_training.data.sources.shards import COMPRESSED
from classifier_training.data.sources.table import list_table
from classifier_training.data.sources.table_columns import TABLE_EXTENSIONS, Columns
from classifier_training.errors import DataError, MissingFileError
from classifier_training.files.text import did_you_mean, is_file, is_folder
from classifier_training.types import Progress

if TYPE_CHECKING:
    import pyarrow as pa

_THREADS: Final = 16  # they wait for the network
_AT_ONCE: Final = 4096


shown_root = show
"""A root for a message: without the password or the signature that an address may hold."""


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
    columns, cache, location = columns or Columns(), cache or cache_folder(), readable_root(os.fspath(root))
    listing = list_source(location, FolderLayout(columns, cache, classes, scanning))
    named_by = None if is_of_this_machine(location) else location
    named = with_plain_names(listing, columns.on_missing_label)
    checked = _checked(named, shown_root(location))
    return with_local_images(checked, cache, fetching, named_by=named_by, opened_by=_query_of(location))


def _query_of(root: str) -> str:
    """The query of a web folder, which opens all that is in it."""
    return without_query(root)[1] if is_remote(root) else ""


def list_source(root: str, layout: FolderLayout) -> Listing:
    """Lists a root, a path or an address, as `list_photos`, and fetches no images; ``layout`` lists folders."""
    is_remote_root, extension = is_remote(root), extension_of(root)
    if not is_remote_root and is_folder(root):
        return layout.list(root)
    if extension == ".parquet" or is_pattern(root) or name_of(root).lower().endswith((".tar", *COMPRESSED)):
        packed = layout.list_parquet(root) if extension == ".parquet" else layout.list_shards(root)
        if packed is not None:
            return packed
    if extension in TABLE_EXTENSIONS and not is_pattern(root) and (is_remote_root or is_file(root)):
        return list_table(root, layout.columns, cache=layout.cache, classes=layout.classes)
    if is_remote_root:
        return layout.list(root)
    if is_file(root):
        known = ", ".join((*TABLE_EXTENSIONS, ".tar"))
        raise DataError(f"{root} is a file, but not a table; allowed are a folder or {known}")
    raise DataError(f"there is no folder {root}; name a folder of photos or a table file{did_you_mean(root)}")


def _checked(listing: Listing, root: str) -> Listing:
    if not listing.rows.num_rows:
        found = "".join(f" ({warning})" for warning in listing.warnings)
        raise DataError(
            f"no images in {root}{found}; expected <class>/<image>, {{train,val,test}}/<class>/<image> or"
            " annotations.csv"
        )
    return listing


def with_local_images(
    listing: Listing,
    cache: Path,
    progress: Progress | None = None,
    *,
    named_by: str | None = None,
    opened_by: str = "",
) -> Listing:
    """A listing whose images are local copies where they were files at an address.

    An image that has been fetched before is not requested again. One that does not exist keeps its address, and
    fails when it is read. ``progress`` reports how many have been fetched; it is not called where none is remote.
    ``named_by`` and ``opened_by`` are as of `fetch`.

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
    copies = _fetched(addresses, cache, named_by, opened_by)
    for done, (row, copy) in enumerate(zip(rows, copies, strict=True), start=1):
        if copy is None:
            new_locations[row], names[row] = split_address(shown(addresses[done - 1]))
        else:
            new_locations[row], names[row] = str(copy.parent.parent), f"{copy.parent.name}/{copy.name}"
        if progress is not None:
            progress(done, len(rows))
    table = _replaced(listing.rows, "place", pa.array(new_locations, pa.string()).dictionary_encode())
    return replace(listing, rows=_replaced(table, "name", pa.array(names, pa.string())))


def _fetched(addresses: Sequence[str], cache: Path, named_by: str | None, opened_by: str) -> Iterator[Path | None]:
    """The copy of every file, in order; None where the file does not exist."""

    def copy(address: str) -> Path | None:
        try:
            return fetch(address, cache, named_by=named_by, opened_by=opened_by)
        except MissingFileError:
            return None

    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(addresses), _AT_ONCE):
            yield from pool.map(copy, addresses[start : start + _AT_ONCE])


def _replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
