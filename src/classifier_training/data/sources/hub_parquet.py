"""Parquet files with images in them, as the Hugging Face hub stores image sets."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Final

from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.sources.address import is_remote, shown
from classifier_training.data.sources.cell_paths import CellPaths
from classifier_training.data.sources.listing import Listing, RowWriter
from classifier_training.data.sources.locations import entries, name_of, parent_of
from classifier_training.data.sources.parquet_columns import ImageColumns, image_columns, read_cells
from classifier_training.data.sources.parquet_pack import Pack, unpack_images
from classifier_training.data.sources.remote import fetch
from classifier_training.data.sources.split_files import SplitFiles, find_split_files
from classifier_training.data.sources.table_rows import Columns, TableFile, Where, fault
from classifier_training.errors import DataError
from classifier_training.files.text import name_some
from classifier_training.types import SPLITS, Progress, Split

_THREADS_OF_REMOTE: Final = 4


def list_hub_parquet(
    root: str,
    columns: Columns,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    classes: Collection[str] | None = None,
) -> Listing | None:
    """Lists the images in Parquet files; None where the root has no such file, or one of paths only.

    The images are copied once into the cache, from where each can be read alone; a row without bytes whose path is a
    file is that file. Labels that are indices get the names that the file's schema gives.

    Args:
        root: A ``.parquet`` file, a folder of them or one with such a folder ``data``, or a pattern such as
            ``data/train-{00000..00003}-of-00004.parquet``. Each may be an address.
        columns: Names of the columns.
        cache: The cache folder; None: the user's.
        progress: Reports how many files have been listed.
        classes: The class names that there may be; None: any.

    Raises:
        DataError: A file cannot be read or lacks a column, or a row has no image or no label.
    """
    files = _find(root)
    if files is None:
        return None
    cache = cache or cache_folder()
    lister = _Lister(columns, cache, classes)
    for done, (split, location, path) in enumerate(_fetched(files, cache), start=1):
        found = image_columns(path, columns, shown(location))
        if found is None:
            if done == 1:
                return None
            raise DataError(f"{shown(location)} holds no images, but {shown(files.all()[0][1])} does; keep them apart")
        lister.add(location, path, found, split)
        if progress is not None:
            progress(done, len(files.all()))
    return lister.listing(root, files)


def _find(root: str) -> SplitFiles | None:
    files = find_split_files(root, ".parquet", _parquets)
    if files is not None or name_of(root).lower().endswith(".parquet"):
        return files
    folders = entries(root).folders if is_remote(root) or Path(root).is_dir() else []
    data = next((folder for folder in folders if name_of(folder) == "data"), None)
    return None if data is None else find_split_files(data, ".parquet", _parquets)


def _parquets(files: Sequence[str], folders: Sequence[str]) -> list[str]:
    """The Parquet files in a folder that has nothing but files."""
    return [] if folders else [file for file in files if name_of(file).lower().endswith(".parquet")]


def _fetched(files: SplitFiles, cache: Path) -> Iterator[tuple[Split | None, str, Path]]:
    """Split, location and local path of every file, in order, while the next ones are fetched."""
    with ThreadPoolExecutor(_THREADS_OF_REMOTE) as pool:
        paths = pool.map(lambda file: fetch(file[1], cache, revalidate=True), files.all())
        for (split, location), path in zip(files.all(), paths, strict=True):
            yield split, location, path


class _Lister:
    """Adds the rows of one Parquet file after the other."""

    def __init__(self, columns: Columns, cache: Path, classes: Collection[str] | None) -> None:
        self._columns = columns
        self._cache = cache
        self._classes = classes
        self._writer = RowWriter()
        self._watched: list[str] = []
        self._splits: set[Split | None] = set()
        self._first: tuple[str, list[str] | None] | None = None
        self._num_unlabelled = 0
        self._hints: list[str] = []

    def add(self, location: str, path: Path, found: ImageColumns, split: Split | None) -> None:
        pack = unpack_images(path, found.image, self._cache, shown(location))
        self._watched += [str(path), str(pack.path)]
        self._check_class_names(found, location)
        if split is None and found.split is None:
            self._check_split(found, location)
        cells = read_cells(path, found, split, shown(location), self._classes, self._columns.on_missing_label)
        kept = [row for row, label in enumerate(cells.labels) if label is not None]
        self._num_unlabelled += len(cells.labels) - len(kept)
        self._splits.update(cells.splits[row] for row in kept)
        paths = CellPaths(
            TableFile(path, parent_of(location), location if is_remote(location) else ""), found.image, ()
        )
        where = {row: _where((shown(location), row + 1), found.image, pack, row, paths) for row in kept}
        for (folder, row_split, _), run in groupby(
            kept, key=lambda row: (where[row][0], cells.splits[row], pack.offsets[row] >= 0)
        ):
            rows = list(run)
            is_packed = pack.offsets[rows[0]] >= 0
            self._writer.add(
                folder,
                [where[row][1] for row in rows],
                [cells.labels[row] or "" for row in rows],
                split=row_split,
                offsets=pack.offsets[rows].tolist() if is_packed else None,
                sizes=pack.sizes[rows].tolist() if is_packed else None,
                groups=[cells.groups[row] for row in rows] if cells.groups else None,
                weights=[cells.weights[row] for row in rows] if cells.weights else None,
            )

    def _check_split(self, found: ImageColumns, location: str) -> None:
        """Refuses a file without the split column that was named, and hints at one that is nearly the usual one."""
        wanted = self._columns.split
        if wanted != Columns().split:
            raise DataError(f"{shown(location)} has no column {wanted!r}; name the correct one with data.split_column")
        if found.near_split is not None and not self._hints:
            word = shlex.quote(f"data.split_column={found.near_split}")
            name = repr(found.near_split)
            self._hints.append(
                f"{shown(location)}: the column {name} is not read as the split; if it is one, add {word}"
            )

    def _check_class_names(self, found: ImageColumns, location: str) -> None:
        """Refuses a file whose indices stand for other names than those of the first file."""
        names = found.class_names.get(found.label)
        if self._first is None:
            self._first = (location, names)
        elif names != self._first[1]:
            one = "has no class names" if names is None else f"has the class names {name_some(map(repr, names))}"
            other = self._first[1]
            has = "has none" if other is None else f"has {name_some(map(repr, other))}"
            raise DataError(
                f"{shown(location)} {one} for the column {found.label!r}, and {shown(self._first[0])} {has}: an index"
                " would mean two things; write the files with the same names"
            )

    def listing(self, root: str, files: SplitFiles) -> Listing:
        if None in self._splits and len(self._splits) > 1:
            raise DataError(f"{shown(root)}: some files have no {self._columns.split!r}, the others do; give it to all")
        locations = files.locations or {split: shown(root) for split in SPLITS if split in self._splits}
        count = len(files.all())
        layout = f"{count} Parquet file{'s' if count > 1 else ''} of images ({', '.join(locations) or 'no splits'})"
        watched = [*files.watched_folders(), *self._watched]
        left_out = f"{self._num_unlabelled} row(s) of {shown(root)} have no label and are left out"
        warnings = [*files.warnings, *self._hints, *([left_out] if self._num_unlabelled else [])]
        return Listing(layout, self._writer.table(), locations, warnings, watched)


def _where(where: Where, column: str, pack: Pack, row: int, paths: CellPaths) -> tuple[str, str]:
    """Location and name of a row's image: in the pack, or a file next to the Parquet file."""
    name = pack.names[row]
    if pack.offsets[row] >= 0:
        return str(pack.path), name or f"row {row + 1}"
    if not name:
        raise fault(where, f"the column {column!r} has no image")
    folder, file = paths.locate(where, name)
    if not is_remote(folder) and not Path(folder, file).is_file():
        raise fault(where, f"the column {column!r} has no bytes, and there is no file {Path(folder, file)}")
    return folder, file
