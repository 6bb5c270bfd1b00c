"""Folders that would be read as classes and may be something else: data sets, splits, pictures and their masks."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from classifier_training.data.sources.listing import SPLIT_OF_NAME, Listing
from classifier_training.data.sources.locations import entries, extension_of, inside, is_image, name_of, show
from classifier_training.data.sources.table import open_table
from classifier_training.data.sources.table_columns import TABLE_EXTENSIONS, Columns, suggested_settings
from classifier_training.data.sources.table_rows import column_names
from classifier_training.errors import DataError
from classifier_training.files.text import name_some

_FEW_FOLDERS: Final = 5


def refuse_sets_as_classes(root: str, listing: Listing) -> None:
    """Refuses "classes" that are data sets of their own.

    Raises:
        DataError: It names what to type instead.
    """
    places = listing.rows.column("place").unique().to_pylist()
    below = [place[len(root) :].strip("/\\").replace("\\", "/").split("/") for place in places]
    sets = sorted({parts[0] for parts in below if len(parts) > 2 and SPLIT_OF_NAME.get(parts[1].lower()) == "train"})
    if sets:
        raise DataError(
            f"{show(root)} holds data sets of their own ({name_some(sets)}), not class folders; name one:"
            f" classifier-training train {show(inside(root, sets[0]))}"
        )


def refuse_class_beside_table(
    root: str, listing: Listing, columns: Columns, classes: Collection[str] | None, cache: Path
) -> None:
    """Refuses one class beside a table that gives the classes.

    Raises:
        DataError: It names what to type instead.
    """
    tables = [file for file in entries(root).files if extension_of(file) in TABLE_EXTENSIONS]
    labels = listing.rows.column("label").unique().to_pylist()
    if tables and len(labels) < 2 and (classes is None or not set(labels) & set(classes)):
        names = column_names(open_table(tables[0], cache))
        words = " ".join(filter(None, [show(tables[0]), suggested_settings(names, columns)]))
        raise DataError(
            f"{show(root)} has no class folders, but a table; to read it, name it: classifier-training train {words}"
        )


def ambiguity_notices(folder: str, *, is_split: bool = False) -> list[str]:
    """Notices of class folders that all hold the same folders: those may be the classes, or splits of each class.

    Args:
        folder: Where the class folders lie.
        is_split: Whether it is of a split, so that no folder in it can be named instead.
    """
    outer = entries(folder).folders
    found = [entries(name) for name in outer[:_FEW_FOLDERS]]
    inner = [sorted(map(name_of, folders)) for files, folders in found if not any(map(is_image, files))]
    if len(outer) < 2 or len(inner) < len(found) or any(names != inner[0] for names in inner) or len(inner[0]) < 2:
        return []
    both = f"all class folders in {show(folder)} hold the same folders ({name_some(inner[0])})"
    splits = {SPLIT_OF_NAME.get(name.lower()): name for name in inner[0]}
    if "train" in splits and None not in splits:
        return [f"{both}, which are not read as splits; expected {show(folder)}/{splits['train']}/<class>/<image>"]
    if len(outer) > _FEW_FOLDERS:
        return []
    names = name_some(map(name_of, outer))
    if is_split:
        return [f"{both}; if these are the classes, leave one of {names} there"]
    return [f"{both}; if these are the classes, name one of {names}: classifier-training train {show(outer[0])}"]
