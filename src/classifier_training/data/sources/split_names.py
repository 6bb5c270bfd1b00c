"""Folders whose names contain the name of a split: ``Training`` and ``Testing``, ``seg_train`` and ``seg_test``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from classifier_training.data.sources.listing import SPLIT_OF_NAME
from classifier_training.data.sources.locations import entries, is_image, name_of
from classifier_training.files.text import name_some
from classifier_training.types import SPLITS, Split

_SPLIT_OF_WORD: Final[Mapping[str, Split]] = {**SPLIT_OF_NAME, "training": "train", "testing": "test"}
_WORD: Final = re.compile(rf"(?<![a-z])({'|'.join(_SPLIT_OF_WORD)})(?![a-z])")
_MOST_FOLDERS: Final = 20


def splits_by_name(folders: Sequence[str], exact: Mapping[Split, str]) -> dict[Split, str] | None:
    """The splits that folders beside each other are by a part of their names; None: they may well be classes.

    They are splits where one of them is for training and another is not, each has folders and no image of its own, and
    at most as many others lie beside them.

    Args:
        folders: All folders in a root.
        exact: Those that are called exactly like a split.
    """
    if "train" in exact or len(folders) > _MOST_FOLDERS:
        return None
    found: dict[Split, str] = dict(exact)
    for folder in folders:
        words = {_SPLIT_OF_WORD[word] for word in _WORD.findall(name_of(folder).lower())}
        if folder in exact.values() or not words:
            continue
        split = words.pop()
        if words or split in found or not _has_only_folders(folder):
            return None
        found[split] = folder
    if "train" not in found or len(found) < 2 or len(found) < len(folders) - len(found):
        return None
    return {split: found[split] for split in SPLITS if split in found}


def describe_splits(folders: Mapping[Split, str], exact: Mapping[Split, str]) -> list[str]:
    """The notice of folders that are not called exactly like the splits that they are read as."""
    others = [f"{name_of(folder)} as {split}" for split, folder in folders.items() if split not in exact]
    return [f"folders are read as splits: {name_some(others)}"] if others else []


def _has_only_folders(folder: str) -> bool:
    files, folders = entries(folder)
    return bool(folders) and not any(map(is_image, files))
