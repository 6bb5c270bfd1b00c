"""Tar shards as WebDataset writes them, read by random access, and the class names in a file next to them."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.sources.address import is_remote, shown
from classifier_training.data.sources.class_names import check_distinct, plain_name
from classifier_training.data.sources.listing import Listing, RowWriter, record_at
from classifier_training.data.sources.locations import entries, name_of
from classifier_training.data.sources.remote import fetch
from classifier_training.data.sources.shard_manifest import MANIFEST, check_shards, read_manifest
from classifier_training.data.sources.shard_samples import ShardSamples, read_shard
from classifier_training.data.sources.split_files import SplitFiles, find_split_files
from classifier_training.errors import DataError
from classifier_training.files.hidden import skipped_notice
from classifier_training.types import Progress, Split

if TYPE_CHECKING:
    import pyarrow as pa

_THREADS_OF_REMOTE: Final = 8
COMPRESSED: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
NAMES_FILES: Final = ("classes.json", "classes.txt", "classnames.txt", "labels_mapping.json")
_INDEX: Final = re.compile(r"0|[1-9][0-9]*")


def list_shards(
    root: str,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    on_missing_label: Literal["raise", "skip"] = "raise",
) -> Listing | None:
    """Lists the images in the tar shards of a root; None where it has none.

    A label is the text of ``key.cls``, or of a field of ``key.json``. Where all labels are indices and a file of
    class names lies next to the shards, they become names. Remote shards are fetched into the cache, whole.

    Args:
        root: A folder that holds ``*.tar``, itself or in split folders; a ``.tar`` file; or a pattern such as
            ``shards/train-{000..009}.tar``. Each may be an address.
        cache: The cache folder; None: the user's.
        progress: Reports how many shards have been listed.
        on_missing_label: What to do about an image without a label: stop, or leave it out.

    Raises:
        DataError: A shard is missing, empty, cut off, hostile, or holds images without labels.
    """
    _refuse_compressed([root])
    shards = find_split_files(root, ".tar", _tars)
    if shards is None:
        return None
    flat = shards.all()
    cache = cache or cache_folder()
    contents = _Contents(zip(flat, _read_all(flat, cache, progress, on_missing_label), strict=True))
    paths, warnings = contents.paths, [*shards.warnings, *contents.warnings(shown(root))]
    if shards.folder == root:
        _check_manifest(root, [(shard, path) for (_, shard), path in zip(flat, paths, strict=True)], cache)
    table = contents.rows.table()
    warnings += _repeated_keys(table, contents.key_hashes)
    names = _class_names(root, shards.folder, cache, warnings)
    if names is not None:
        paths.append(str(names.path))
        table, more = with_class_names(table, names)
        warnings += more
    return Listing(_layout(shards), table, shards.locations, warnings, [*shards.watched_folders(), *paths])


class _Contents:
    """What the shards hold, shard by shard: their rows and local paths, and the hashes of the keys of each split."""

    def __init__(self, shards: Iterable[tuple[tuple[Split | None, str], tuple[str, ShardSamples]]]) -> None:
        self.rows, self.paths = RowWriter(), list[str]()
        self.key_hashes: dict[Split | None, list[np.ndarray[Any, Any]]] = {}
        self._empty, self._skipped, self._num_unlabelled = list[str](), list[str](), 0
        for (split, shard), (path, found) in shards:
            self.paths.append(path)
            self._num_unlabelled += found.num_unlabelled
            self._skipped += found.skipped
            if not found.names:
                self._empty.append(shard)
            self.rows.add(path, found.names, found.labels, split=split, offsets=found.offsets, sizes=found.sizes)
            self.key_hashes.setdefault(split, []).append(np.array(found.key_hashes, np.int64))

    def warnings(self, root: str) -> list[str]:
        warnings = [f"the shard {shown(shard)} holds no images" for shard in self._empty]
        warnings += skipped_notice(root, self._skipped)
        if self._num_unlabelled:
            warnings.append(f"{self._num_unlabelled} image(s) of {root} have no label and are left out")
        return warnings


def _read_all(
    shards: list[tuple[Split | None, str]],
    cache: Path,
    progress: Progress | None,
    on_missing_label: Literal["raise", "skip"],
) -> Iterator[tuple[str, ShardSamples]]:
    """Path and images of each shard, in order, while others are read or fetched."""

    def read(shard: str) -> tuple[str, ShardSamples]:
        path = str(fetch(shard, cache, revalidate=True))
        return path, read_shard(path, on_missing_label)

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
        path = fetch(file, cache, revalidate=True)
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
            rows = table.take(start + positions).to_pylist()
            images = [record_at(row["place"], row["name"], row["offset"], row["size"]) for row in rows]
            examples = " and ".join(map(str, images))
            of_split = "" if split is None else f" of the {split} split"
            warnings.append(f"{len(repeated)} key(s) are in several shards{of_split}, such as {examples}")
        start += len(keys)
    return warnings


def _layout(shards: SplitFiles) -> str:
    count = len(shards.all())
    splits = ", ".join(shards.locations)
    return f"{count} tar shard{'s' if count > 1 else ''}" + (f" ({splits})" if splits else ", no splits")


def _tars(files: Sequence[str], folders: Sequence[str]) -> list[str]:
    """The shards in a folder; an archive next to folders that were unpacked from it is not one."""
    if folders:
        return []
    _refuse_compressed(files)
    return [file for file in files if name_of(file).lower().endswith(".tar")]


def _refuse_compressed(shards: Iterable[str]) -> None:
    compressed = next((shard for shard in shards if name_of(shard).lower().endswith(COMPRESSED)), None)
    if compressed is not None:
        raise DataError(
            f"{shown(compressed)} is compressed, so that no image in it can be read on its own; make a plain .tar of"
            " it: images do not get smaller by it"
        )


def _check_numbers(numbers: Mapping[str, int], path: Path) -> None:
    names: dict[int, str] = {}
    for name, number in numbers.items():
        if number in names:
            raise DataError(f"{path} gives the number {number} to two classes, {names[number]!r} and {name!r}")
        names[number] = name


def _check_gaps(values: Mapping[str, Any], path: Path) -> None:
    """Refuses names by number of which one is missing; what is no such mapping is left to others."""
    missing = [number for number in range(len(values)) if str(number) not in values]
    if missing and all(_INDEX.fullmatch(number) and isinstance(name, str) for number, name in values.items()):
        raise DataError(
            f"{path} gives no class the number {missing[0]}; {len(values)} classes have the numbers 0 to"
            f" {len(values) - 1}"
        )


class ClassNames(NamedTuple):
    """Class names by index, and the file that they stand in, or its copy."""

    path: Path
    names: tuple[str, ...]


def find_class_names(folder: str, cache: Path) -> ClassNames | None:
    """The class names in a folder, local or remote: the first of `NAMES_FILES` that exists, or None.

    Raises:
        DataError: The file cannot be read, or names a class twice.
    """
    files = {name_of(file): file for file in entries(folder)[0]}
    file = next((files[name] for name in NAMES_FILES if name in files), None)
    if file is None:
        return None
    path = fetch(file, cache, revalidate=True)
    names = _read(path)
    check_distinct(names, str(path))
    return ClassNames(path, tuple(names))


def with_class_names(table: pa.Table, names: ClassNames) -> tuple[pa.Table, list[str]]:
    """A listing's rows with class names in place of indices, and warnings.

    Labels that are names already stay as they are, also where the names are numbers.

    Raises:
        DataError: A label is an index that the file has no name for.
    """
    import pyarrow as pa

    column = table.column("label").combine_chunks()
    labels: list[str] = column.dictionary.to_pylist()
    if {plain_name(label) for label in labels} <= {plain_name(name) for name in names.names}:
        return table, []
    if not all(_INDEX.fullmatch(label.strip()) for label in labels):
        return table, [f"{names.path} is not used: the labels are text and not indices"]
    for code, label in enumerate(labels):
        if int(label) >= len(names.names):
            raise _without_name(table, code, label, names)
    named = pa.array([names.names[int(label)] for label in labels], pa.string())
    renamed = pa.DictionaryArray.from_arrays(column.indices, named)
    return table.set_column(table.schema.get_field_index("label"), table.schema.field("label"), renamed), []


def _without_name(table: pa.Table, code: int, label: str, names: ClassNames) -> DataError:
    import pyarrow.compute as pc

    row = pc.index(table.column("label").combine_chunks().indices, code).as_py()
    image = table.slice(row, 1).to_pylist()[0]
    return DataError(
        f"{image['place']}::{image['name']} has the label {label}, and {names.path} has names for 0 to"
        f" {len(names.names) - 1} only"
    )


def _read(path: Path) -> Sequence[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix != ".json":
            return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
        names = _names_in(json.loads(text, object_pairs_hook=lambda pairs: _distinct(pairs, path)), path)
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        raise DataError(f"{path} is not JSON") from None
    if names is None:
        raise DataError(f"{path} holds no class names; expected a list of names, or a mapping of indices and names")
    return names


def _distinct(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    """A JSON object; of a key that comes twice, only the last value would be seen."""
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise DataError(f"{path} holds the key {twice[0]!r} twice; remove one")
    return dict(pairs)


def _names_in(values: Any, path: Path) -> list[str] | None:
    """The names in a list, in ``{"0": "cat"}``, in ``{"cat": 0}`` or in a ``labels_mapping.json``."""
    if isinstance(values, dict):
        values = values.get("class_to_idx", values)
    if isinstance(values, dict):
        if all(isinstance(index, int) and not isinstance(index, bool) for index in values.values()):
            _check_numbers(values, path)
            values = {str(index): name for name, index in values.items()}
        _check_gaps(values, path)
        values = [values.get(str(index)) for index in range(len(values))]
    if isinstance(values, list) and values and all(isinstance(name, str) for name in values):
        return values
    return None
