"""Detects the layout of the photos in a root, and fetches images at an address: all that follows reads local files."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.sources.address import (
    is_pattern,
    is_remote,
    readable_root,
    why_no_photos,
    without_query,
)
from classifier_training.data.sources.addresses_of_data import is_of_this_machine
from classifier_training.data.sources.class_names import with_plain_names
from classifier_training.data.sources.folder_layout import FolderLayout
from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.local_copies import with_local_images as with_local_images
from classifier_training.data.sources.locations import extension_of, name_of, show
from classifier_training.data.sources.shards import COMPRESSED
from classifier_training.data.sources.table import list_table
from classifier_training.data.sources.table_columns import TABLE_EXTENSIONS, Columns
from classifier_training.errors import DataError
from classifier_training.files.text import is_file, is_folder
from classifier_training.types import Progress

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
    problem = why_no_photos(root)
    if problem is not None:
        raise DataError(problem)
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
    raise DataError(f"there is no folder {root}; a pattern of several files ends in .tar or .parquet")


def _checked(listing: Listing, root: str) -> Listing:
    if not listing.rows.num_rows:
        found = "".join(f" ({warning})" for warning in listing.warnings)
        raise DataError(
            f"no images in {root}{found}; expected <class>/<image>, {{train,val,test}}/<class>/<image> or"
            " annotations.csv"
        )
    return listing
