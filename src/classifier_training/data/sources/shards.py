"""Tar shards as WebDataset writes them, read by random access: nothing is unpacked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.sources.address import is_remote, shown
from classifier_training.data.sources.class_names import ClassNames, find_class_names, with_class_names
from classifier_training.data.sources.listing import Listing, RowWriter, record_at
from classifier_training.data.sources.remote import fetch
from classifier_training.data.sources.shard_manifest import MANIFEST, check_shards, read_manifest
from classifier_training.data.sources.shard_samples import ShardSamples, read_shard
from classifier_training.data.sources.split_files import SplitFiles, entries, find_split_files, name_of
from classifier_training.errors import DataError
from classifier_training.types import Progress, Split

if TYPE_CHECKING:
    import pyarrow as pa

_THREADS_OF_REMOTE: Final = 8
_COMPRESSED: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def list_shards(root: str, *, cache: Path | None = None, progress: Progress | None = None) -> Listing | None:
    """Lists the images in the tar shards of a root; None where it has none.

    A label is the text of ``key.cls``, or of a field of ``key.json``. Where all labels are indices and a file of
    class names lies next to the shards, they become names. Remote shards are fetched into the cache, whole.

    Args:
        root: A folder that holds ``*.tar``, itself or in split folders; a ``.tar`` file; or a pattern such as
            ``shards/train-{000..009}.tar``. Each may be an address.
        cache: The cache folder; None: the user's.
        progress: Reports how many shards have been listed.

    Raises:
        DataError: A shard is missing, empty, cut off, hostile, or holds images without labels.
    """
    if name_of(root).lower().endswith(_COMPRESSED):
        raise _compressed(root)
    shards = find_split_files(root, ".tar", _tars)
    if shards is None:
        return None
    flat = shards.all()
    cache = cache or cache_folder()
    rows, paths, warnings = RowWriter(), list[str](), list(shards.warnings)
    hashes: dict[Split | None, list[np.ndarray[Any, Any]]] = {}
    for (split, shard), (path, found) in zip(flat, _read_all(flat, cache, progress), strict=True):
        paths.append(path)
        if not found.names:
            warnings.append(f"the shard {shown(shard)} holds no images")
        rows.add(path, found.names, found.labels, split=split, offsets=found.offsets, sizes=found.sizes)
        hashes.setdefault(split, []).append(np.array(found.key_hashes, np.int64))
    if shards.folder == root:
        _check_manifest(root, [(shard, path) for (_, shard), path in zip(flat, paths, strict=True)], cache)
    table = rows.table()
    warnings += _repeated_keys(table, hashes)
    names = _class_names(root, shards.folder, cache, warnings)
    if names is not None:
        paths.append(str(names.path))
        table, more = with_class_names(table, names)
        warnings += more
    return Listing(_layout(shards), table, shards.locations, warnings, [*shards.watched_folders(), *paths])


def _read_all(
    shards: list[tuple[Split | None, str]], cache: Path, progress: Progress | None
) -> Iterator[tuple[str, ShardSamples]]:
    """Path and images of each shard, in order, while others are read or fetched."""

    def read(shard: str) -> tuple[str, ShardSamples]:
        path = str(fetch(shard, cache, revalidate=True)) if is_remote(shard) else shard
        return path, read_shard(path)

    is_any_remote = any(is_remote(shard) for _, shard in shards)
    with ThreadPoolExecutor(_THREADS_OF_REMOTE if is_any_remote else os.cpu_count() or 1) as pool:
        for done, found in enumerate(pool.map(read, [shard for _, shard in shards]), start=1):
            if progress is not None:
                progress(done, len(shards))
            yield found


def _check_manifest(folder: str, shards: list[tuple[str, str]], cache: Path) -> None:
    """Compares shards, and their local paths, with their ``prepare.json``, if it exists."""
    file = next((file for file in entries(folder)[0] if name_of(file) == MANIFEST), None)
    if file is not None:
        path = fetch(file, cache, revalidate=True) if is_remote(file) else Path(file)
        sizes = {name_of(shard): Path(local).stat().st_size for shard, local in shards}
        check_shards(read_manifest(path), shown(folder), sizes)


def _class_names(root: str, folder: str, cache: Path, warnings: list[str]) -> ClassNames | None:
    try:
        return find_class_names(folder, cache)
    except DataError as error:
        if not is_remote(folder) or folder == root:
            raise
        # a web server may give files and no lists of them
        warnings.append(f"labels that are indices get no names: {error}")
        return None


def _repeated_keys(table: pa.Table, hashes: dict[Split | None, list[np.ndarray[Any, Any]]]) -> list[str]:
    """Keys that several shards of a split have; they may be other images, or the same shard twice."""
    warnings, start = [], 0
    for split, parts in hashes.items():
        keys = np.concatenate(parts)
        distinct, first, counts = np.unique(keys, return_index=True, return_counts=True)
        repeated = np.flatnonzero(counts > 1)
        if len(repeated):
            positions = np.flatnonzero(keys == distinct[repeated[np.argmin(first[repeated])]])[:2]
            examples = " and ".join(_display_name(table, start + int(position)) for position in positions)
            of_split = "" if split is None else f" of the {split} split"
            warnings.append(f"{len(repeated)} key(s) are in several shards{of_split}, such as {examples}")
        start += len(keys)
    return warnings


def _display_name(table: pa.Table, row: int) -> str:
    values = table.slice(row, 1).to_pylist()[0]
    return str(record_at(values["place"], values["name"], values["offset"], values["size"]))


def _layout(shards: SplitFiles) -> str:
    count = len(shards.all())
    splits = ", ".join(shards.locations)
    return f"{count} tar shard{'s' if count > 1 else ''}" + (f" ({splits})" if splits else ", no splits")


def _tars(files: Sequence[str], folders: Sequence[str]) -> list[str]:
    """The shards in a folder; an archive next to folders that were unpacked from it is not one."""
    if folders:
        return []
    compressed = [file for file in files if name_of(file).lower().endswith(_COMPRESSED)]
    if compressed:
        raise _compressed(compressed[0])
    return [file for file in files if name_of(file).lower().endswith(".tar")]


def _compressed(shard: str) -> DataError:
    return DataError(
        f"{shown(shard)} is compressed, so that no image in it can be read on its own; make a plain .tar of it:"
        " images do not get smaller by it"
    )
