"""Detects the layout of the photos at an address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Final

from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.sources.address import file_name, shown, split_address
from classifier_training.data.sources.folder import empty_class_folder
from classifier_training.data.sources.hub_parquet import list_hub_parquet
from classifier_training.data.sources.listing import SPLIT_OF_NAME, Listing, RowWriter
from classifier_training.data.sources.remote import list_folder, list_remote
from classifier_training.data.sources.shards import list_shards
from classifier_training.data.sources.table import TABLE_EXTENSIONS, Columns, list_split_tables, list_table
from classifier_training.errors import DataError
from classifier_training.imaging.decode import IMAGE_EXTENSIONS
from classifier_training.types import SPLITS, Progress, Split

_THREADS: Final = 8


def list_remote_photos(
    root: str,
    columns: Columns,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    classes: Collection[str] | None = None,
) -> Listing:
    """Lists the labelled images at an address, in any layout that is supported on a disk.

    An address cannot be watched, so it is listed again at every start. Arguments as of `list_photos`.

    Raises:
        DataError: The address cannot be read, or has no known layout.
    """
    cache = cache or cache_folder()
    extension = _extension(root)
    is_table = extension in TABLE_EXTENSIONS
    listing = None if is_table else list_shards(root, cache=cache, progress=progress)
    if listing is None and (not is_table or extension == ".parquet"):
        listing = list_hub_parquet(root, columns, cache=cache, progress=progress, classes=classes)
    if listing is not None:
        return listing
    if is_table:
        return list_table(root, columns, cache=cache, classes=classes)
    return _list_folder(root, columns, cache, progress, classes)


def _list_folder(
    root: str, columns: Columns, cache: Path, progress: Progress | None, classes: Collection[str] | None
) -> Listing:
    """Lists a folder of images with annotations, or with one folder a class, itself or in split folders."""
    table = _annotations(root)
    if table is not None:
        return list_table(table, columns, cache=cache, classes=classes)
    folders = _split_folders(root)
    if not folders:
        return _class_folders(root, [(None, root)], progress)
    tables = {split: table for split, folder in folders.items() if (table := _annotations(folder)) is not None}
    if not tables:
        return _class_folders(root, list(folders.items()), progress)
    for split, folder in folders.items():
        if split not in tables:
            raise DataError(f"{shown(folder)} has no annotations file, but another split has one; add or remove one")
    return list_split_tables(tables, columns, cache=cache, classes=classes)


def _annotations(folder: str) -> str | None:
    names = {f"annotations{extension}" for extension in TABLE_EXTENSIONS}
    found = [file for file in list_folder(folder).files if file_name(file) in names]
    if len(found) > 1:
        raise DataError(f"{shown(folder)} has both {' and '.join(map(file_name, found))}; keep one of them")
    return found[0] if found else None


def _split_folders(root: str) -> dict[Split, str]:
    """The folders that are splits; one that holds images directly is a class of that name."""
    found: dict[Split, str] = {}
    for folder in list_folder(root).folders:
        split = SPLIT_OF_NAME.get(file_name(folder).lower())
        if split is None or any(map(_is_image, list_folder(folder).files)):
            continue
        if split in found:
            both = f"{file_name(found[split])} and {file_name(folder)}"
            raise DataError(f"{shown(root)} has two folders that could both be the {split} split: {both}; rename one")
        found[split] = folder
    return {split: found[split] for split in SPLITS if split in found}


def _class_folders(root: str, splits: Sequence[tuple[Split | None, str]], progress: Progress | None) -> Listing:
    """Lists ``<class>/…`` in each of the folders."""
    rows, warnings, others = RowWriter(), list[str](), Counter[str]()
    classes = [(split, folder) for split, location in splits for folder in list_folder(location).folders]
    with ThreadPoolExecutor(_THREADS) as pool:
        below = pool.map(list_remote, [folder for _, folder in classes])
        for done, ((split, folder), files) in enumerate(zip(classes, below, strict=True), start=1):
            images = [file for file in files if _is_image(file)]
            others.update(_extension(file) or "no extension" for file in files if not _is_image(file))
            if not images:
                warnings.append(empty_class_folder(shown(folder), split))
            for location, run in groupby(map(split_address, images), key=lambda address: address[0]):
                rows.add(location, [name for _, name in run], file_name(folder), split=split)
            if progress is not None:
                progress(done, len(classes))
    if others:
        kinds = ", ".join(f"{count} × {kind}" for kind, count in sorted(others.items()))
        warnings.append(f"files below {shown(root)} that are not images are ignored: {kinds}")
    locations = {split: shown(folder) for split, folder in splits if split is not None}
    layout = f"remote split folders ({', '.join(locations)})" if locations else "remote folder, no splits"
    return Listing(f"{layout} with one folder per class", rows.table(), locations, warnings)


def _is_image(address: str) -> bool:
    return _extension(address) in IMAGE_EXTENSIONS


def _extension(address: str) -> str:
    return PurePosixPath(file_name(address)).suffix.lower()
