"""Which layout a folder of images has: one rule for a folder on a disk and one at an address.

In this order: ``annotations.*``; tar shards; Parquet files of images; the hub's ``metadata.*``; split folders; a table
for each split beside its images; one folder a class; and the same inside the only folder that there is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from classifier_training.data.sources.address import is_remote
from classifier_training.data.sources.ambiguous_folders import (
    ambiguity_notices,
    refuse_class_beside_table,
    refuse_sets_as_classes,
)
from classifier_training.data.sources.class_names import match_class, plain_name
from classifier_training.data.sources.folder import (
    holds_images,
    list_class_folders,
    list_split_folders,
    split_folders,
    split_of,
)
from classifier_training.data.sources.hub_parquet import list_hub_parquet
from classifier_training.data.sources.listing import SPLIT_OF_NAME, Listing
from classifier_training.data.sources.locations import entries, extension_of, is_image, name_of, parent_of, show
from classifier_training.data.sources.shards import list_shards
from classifier_training.data.sources.split_names import describe_splits, splits_by_name
from classifier_training.data.sources.table import find_table, list_split_tables, list_table, open_table
from classifier_training.data.sources.table_columns import (
    TABLE_EXTENSIONS,
    Columns,
    missing_columns,
)
from classifier_training.data.sources.table_rows import column_names
from classifier_training.errors import DataError
from classifier_training.files.hidden import skipped_notice
from classifier_training.types import SPLITS, Progress, Split

HUB_TABLE: Final = "metadata"
_MOST_FOLDERS_ENTERED: Final = 20
_DEEPEST: Final = 5


@dataclass(frozen=True, slots=True)
class FolderLayout:
    """Detects and lists the layout of a folder.

    Attributes:
        columns: Names of a table's columns.
        cache: The cache folder.
        classes: The class names that there may be; None: any.
        progress: Reports how many class folders, shards or files have been scanned.
    """

    columns: Columns
    cache: Path
    classes: Collection[str] | None = None
    progress: Progress | None = None

    def list(self, root: str, depth: int = 0) -> Listing:
        """Lists the labelled images in a folder, a path or an address.

        Raises:
            DataError: It is empty, ambiguous, or of no known layout.
        """
        table = find_table(root)
        if table is not None:
            return list_table(table, self.columns, cache=self.cache, classes=self.classes)
        packed = self.list_shards(root) or self.list_parquet(root)
        if packed is not None:
            return packed
        hub = find_table(root, HUB_TABLE)
        if hub is not None and self._can_read(hub, root):
            return self._list_hub_table(hub)
        wrapped = self._wrapped(root) if depth < _DEEPEST else None
        found = self._list_folders(root) if wrapped is None else self._list_wrapped(root, wrapped, depth)
        if hub is not None:
            found = replace(found, warnings=[*found.warnings, *_unread([hub])])
        return found

    def list_shards(self, root: str) -> Listing | None:
        """Images in tar shards; None where the root has none."""
        skip = self.columns.on_missing_label
        return list_shards(root, cache=self.cache, progress=self.progress, on_missing_label=skip)

    def list_parquet(self, root: str) -> Listing | None:
        """Images in Parquet files; None where the root has none."""
        return list_hub_parquet(root, self.columns, cache=self.cache, progress=self.progress, classes=self.classes)

    def _list_wrapped(self, root: str, wrapped: str, depth: int) -> Listing:
        skipped: set[str] = set()
        entries(root, skipped)
        found = self.list(wrapped, depth + 1)
        notes = [_only_folder(wrapped, root), *skipped_notice(show(root), skipped)]
        return replace(found, warnings=[*notes, *found.warnings], watched=[*found.watched, *_on_disk(root)])

    def _list_folders(self, root: str) -> Listing:
        """Lists split folders, a table for each split, or one folder a class."""
        tables = self._split_tables(root)
        if "train" in tables and not self._has_class_folders(root):
            return self._list_split_tables(tables)
        exact = split_folders(root)
        folders = splits_by_name(entries(root).folders, exact) or exact
        listing = self._list_splits(root, folders) if folders else self._list_classes(root)
        ignored = [
            f"{show(table)} is not read, the folders give the labels; to read it, name it: classifier-training train"
            f" {show(table)}"
            for table in tables.values()
        ]
        return replace(listing, warnings=[*describe_splits(folders, exact), *listing.warnings, *ignored])

    def _list_classes(self, root: str) -> Listing:
        listing = list_class_folders(root, self.progress)
        refuse_sets_as_classes(root, listing)
        refuse_class_beside_table(root, listing, self.columns, self.classes, self.cache)
        return replace(listing, warnings=[*listing.warnings, *ambiguity_notices(root)])

    def _list_splits(self, root: str, folders: dict[Split, str]) -> Listing:
        if any(map(self._table_of_split, folders.values())):
            return self._list_tables_of_splits(folders)
        inner = self._inner_of_splits(folders)
        deeper = {folders[split]: folder for split, folder in inner.items() if folder != folders[split]}
        notes = [_only_folder(folder, outer) for outer, folder in deeper.items()]
        if any(map(self._table_of_split, inner.values())):
            found = self._list_tables_of_splits(inner)
            watched = [folder for outer in deeper for folder in _on_disk(outer)]
            return replace(found, warnings=[*notes, *found.warnings], watched=[*found.watched, *watched])
        found = list_split_folders(root, folders, self.progress, inner)
        hubs = [hub for folder in (*folders.values(), *deeper.values()) if (hub := find_table(folder, HUB_TABLE))]
        ambiguous = ambiguity_notices(next(iter(inner.values())), is_split=True)
        return replace(found, warnings=[*notes, *found.warnings, *_unread(hubs), *ambiguous])

    def _inner_of_splits(self, folders: dict[Split, str]) -> dict[Split, str]:
        """Where the class folders of each split lie: in it, or in the only folder that it has.

        The classes are those of the first split, which is the training split where there is one: a folder that is
        called like one of them is a class in every split.
        """
        found: dict[Split, str] = {}
        for split in (split for split in SPLITS if split in folders):
            known = self.classes
            if known is None and found:
                known = [plain_name(name_of(folder)) for folder in entries(next(iter(found.values()))).folders]
            layout, place = replace(self, classes=known), folders[split]
            for _ in range(_DEEPEST):
                deeper = layout._wrapped(place, of_split=True)
                if deeper is None:
                    break
                place = deeper
            found[split] = place
        return found

    def _list_tables_of_splits(self, folders: dict[Split, str]) -> Listing:
        tables = {split: table for split, folder in folders.items() if (table := self._table_of_split(folder))}
        for split, folder in folders.items():
            if split not in tables:
                raise DataError(
                    f"{show(folder)} has no annotations file, but {show(next(iter(tables.values())))} exists; add or"
                    " remove one"
                )
        return list_split_tables(tables, self.columns, cache=self.cache, classes=self.classes)

    def _table_of_split(self, folder: str) -> str | None:
        table = find_table(folder)
        if table is not None:
            return table
        hub = find_table(folder, HUB_TABLE)
        return hub if hub is not None and self._can_read(hub, folder) else None

    def _can_read(self, table: str, folder: str) -> bool:
        """Whether the hub's table has the labels, or the class folders beside it have.

        Raises:
            DataError: Neither has.
        """
        names = column_names(open_table(table, self.cache))
        why = missing_columns(show(table), names, self.columns)
        if why is not None and not entries(folder).folders:
            raise DataError(why)
        return why is None

    def _list_hub_table(self, table: str) -> Listing:
        """The hub's table in a root; where all its paths begin with a split folder, that is their split."""
        return list_table(table, self.columns, cache=self.cache, classes=self.classes, splits_by_folder=True)

    def _split_tables(self, root: str) -> dict[Split, str]:
        """The tables in a folder that are named like splits, such as ``train.csv``."""
        found: dict[Split, str] = {}
        for file in entries(root).files:
            name, extension = name_of(file), extension_of(file)
            split = SPLIT_OF_NAME.get(name[: -len(extension)].lower()) if extension in TABLE_EXTENSIONS else None
            if split is None:
                continue
            if split in found:
                both = f"{name_of(found[split])} and {name}"
                raise DataError(f"{show(root)} has two tables that could both be the {split} split: {both}; rename one")
            found[split] = file
        return {split: found[split] for split in SPLITS if split in found}

    def _list_split_tables(self, tables: dict[Split, str]) -> Listing:
        notes = []
        for split, table in list(tables.items()):
            why = missing_columns(show(table), column_names(open_table(table, self.cache)), self.columns)
            if why is not None and split == "train":
                raise DataError(why)
            if why is not None:  # a competition's test.csv has no labels
                notes.append(f"{why}; the table is left out")
                del tables[split]
        if list(tables) == ["train"]:  # its rows may have a column of splits
            found = list_table(tables["train"], self.columns, cache=self.cache, classes=self.classes)
        else:
            found = list_split_tables(tables, self.columns, cache=self.cache, classes=self.classes)
        watched = [*found.watched, *_on_disk(parent_of(next(iter(tables.values()))))]
        return replace(found, warnings=[*found.warnings, *notes], watched=watched)

    def _has_class_folders(self, root: str) -> bool:
        """Whether folders in ``root`` give labels: split folders with classes in them, or two or more classes."""
        folders = entries(root).folders
        splits = [folder for folder in folders if split_of(folder)]
        if any(entries(folder).folders for folder in splits if split_of(folder) == "train"):
            return True
        others = [folder for folder in folders if folder not in splits]
        return sum(map(holds_images, others[:_MOST_FOLDERS_ENTERED])) > 1

    def _wrapped(self, root: str, *, of_split: bool = False) -> str | None:
        """The only folder with images in ``root``, if it is a data set and not a class; None: there is none such.

        Args:
            root: A root, or a split folder or what is in it.
            of_split: Whether it is of a split: it has one folder a class, and what else lies in it is not read.
        """
        files, folders = entries(root)
        if not folders or len(folders) > _MOST_FOLDERS_ENTERED:
            return None
        if not of_split and (any(map(is_image, files)) or self._split_tables(root)):
            return None
        having: list[str] = []
        for folder in folders:
            if holds_images(folder) or self._is_data_set(folder):
                having.append(folder)
            if len(having) > 1:
                return None
        if len(having) != 1 or (split_of(having[0]) and not of_split) or self._is_known(having[0]):
            return None
        inner = entries(having[0]).folders
        is_one = self._is_data_set(having[0]) or len(inner) > 1 or any(map(self._is_known, inner))
        return having[0] if is_one or (len(inner) == 1 and self._wrapped(having[0], of_split=of_split)) else None

    def _is_known(self, folder: str) -> bool:
        """Whether a folder is called like a class that there must be."""
        return self.classes is not None and match_class(name_of(folder), self.classes) is not None

    def _is_data_set(self, folder: str) -> bool:
        """Whether a folder can only be a whole data set, not a class: it has splits, a table or shards."""
        files, folders = entries(folder)
        names = {name_of(file) for file in files}
        tables = {f"{stem}{extension}" for stem in ("annotations", HUB_TABLE) for extension in TABLE_EXTENSIONS}
        is_packed = not folders and any(name.lower().endswith((".tar", ".parquet")) for name in names)
        if names & tables or is_packed:
            return True
        return any(split_of(inner) == "train" and entries(inner).folders for inner in folders)


def _only_folder(folder: str, outer: str) -> str:
    return f"the photos are read from {show(folder)}, the only folder of images in {show(outer)}"


def _unread(hubs: Iterable[str]) -> list[str]:
    return [f"{show(hub)} has no labels and is not read" for hub in hubs]


def _on_disk(folder: str) -> list[str]:
    """A folder that can be watched; an address is listed again at every start."""
    return [] if is_remote(folder) else [folder]
