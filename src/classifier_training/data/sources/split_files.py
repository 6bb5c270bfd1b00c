"""Files that hold many images each, and their splits by file or folder name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from classifier_training.data.sources.address import is_pattern, is_remote, shown
from classifier_training.data.sources.listing import SPLIT_OF_NAME
from classifier_training.data.sources.locations import entries, name_of, parent_of
from classifier_training.errors import DataError
from classifier_training.files.text import is_file, is_folder, name_some, special_kind
from classifier_training.types import SPLITS, Split

_WORD: Final = re.compile(rf"(?<![a-z])({'|'.join(SPLIT_OF_NAME)})(?![a-z])")
_RANGE: Final = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.-?(\d+))?\}")
MAX_FILES: Final = 1_000_000
"""The most files that a pattern may stand for."""

Choose = Callable[[Sequence[str], Sequence[str]], list[str]]
"""Given the files and the folders in a folder: the files that hold images."""


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """The files of one root.

    Attributes:
        folder: Where they lie, or their split folders do.
        splits: Their paths or addresses, in order; the key None where the splits are not given.
        locations: Where each split lies, human-readable.
        warnings: What the user should know.
    """

    folder: str
    splits: dict[Split | None, list[str]]
    locations: dict[Split, str]
    warnings: list[str]

    def all(self) -> list[tuple[Split | None, str]]:
        """Every file with its split."""
        return [(split, file) for split, files in self.splits.items() for file in files]

    def watched_folders(self) -> list[str]:
        """Folders that change when a file is added; none of an address."""
        if is_remote(self.folder):
            return []
        return sorted({self.folder, *(str(Path(files[0]).parent) for files in self.splits.values() if files)})


def find_split_files(root: str, extension: str, choose: Choose) -> SplitFiles | None:
    """The files that a root means; None where it means none of that kind.

    Args:
        root: A folder or its address, a file, or a pattern such as ``shards/train-{000..009}.tar``.
        extension: What a file or a pattern must end in, lower case.
        choose: Finds the files in a folder.

    Raises:
        DataError: Files of a pattern are missing, or it is not clear which split a file is of.
    """
    if name_of(root).lower().endswith(extension) and not is_folder(root):
        files = expand_braces(root) if is_pattern(root) else [root]
        missing = [file for file in files if not is_remote(file) and not is_file(file)]
        for file in missing:
            special = special_kind(file)
            if special is not None:
                raise DataError(f"cannot read {file}: {special}")
        if missing:
            raise DataError(f"{len(missing)} of the {len(files)} files of {root} are missing: {name_some(missing)}")
        return _by_file_name(files, parent_of(files[0]), root)
    if is_remote(root) or is_folder(root):
        return _in_folder(root, choose)
    return None


def expand_braces(pattern: str) -> list[str]:
    """The texts that a pattern stands for, as bash expands them; braces in braces are refused.

    Raises:
        DataError: It has braces that are neither a range nor a list, or stands for more than `MAX_FILES`.

    Example:
        >>> expand_braces("train-{08..10}.tar")
        ['train-08.tar', 'train-09.tar', 'train-10.tar']
        >>> expand_braces("{train,val}-{0..1}.tar")
        ['train-0.tar', 'train-1.tar', 'val-0.tar', 'val-1.tar']
    """
    from braceexpand import braceexpand  # here: scoring an ONNX file must work without it

    if not re.fullmatch(r"[^{}]*(\{[^{}]*\}[^{}]*)*", pattern):
        raise DataError(f"{shown(pattern)} has braces in braces, or one alone; expected shards/train-{{000..009}}.tar")
    # the library makes a list of every range before it combines them, however long it is
    lengths = [abs(int(last) - int(first)) // (int(step or 1) or 1) for first, last, step in _RANGE.findall(pattern)]
    texts = list(islice(braceexpand(pattern, escape=False), MAX_FILES + 1)) if sum(lengths) < MAX_FILES else []
    if not 0 < len(texts) <= MAX_FILES:
        raise DataError(f"{shown(pattern)} stands for more than {MAX_FILES} files")
    literal = re.search(r"\{[^{}]*\}", texts[0])
    if literal:
        raise DataError(
            f"{shown(pattern)}: {literal[0]} is neither a range such as {{000..009}} nor a list such as {{a,b}}"
        )
    return texts


def _in_folder(root: str, choose: Choose) -> SplitFiles | None:
    files, folders = entries(root)
    by_split: dict[Split | None, list[str]] = {}
    locations: dict[Split, str] = {}
    for folder in folders:
        split = SPLIT_OF_NAME.get(name_of(folder).lower())
        found = [] if split is None else choose(*entries(folder))
        if split is None or not found:
            continue
        if split in locations:
            both = f"{name_of(parent_of(by_split[split][0]))} and {name_of(folder)}"
            raise DataError(f"{shown(root)} has two folders that could both be the {split} split: {both}; rename one")
        by_split[split], locations[split] = found, shown(folder)
    direct = choose(files, [] if by_split else folders)
    if by_split:
        ignored = [f"{len(direct)} file(s) next to the split folders are ignored: {shown(direct[0])}"] if direct else []
        return SplitFiles(root, {split: by_split[split] for split in SPLITS if split in by_split}, locations, ignored)
    return _by_file_name(direct, root, root) if direct else None


def _by_file_name(files: list[str], folder: str, root: str) -> SplitFiles:
    """The files by the splits in their names."""
    names = [name_of(file) for file in files]
    begins = {file: _first_split(name) for file, name in zip(files, names, strict=True)}
    if not any(begins.values()):
        words = {file: _only_split(name) for file, name in zip(files, names, strict=True)}
        # imagenet1k-train-0000.tar; a name that merely contains "test" is not of a split
        begins = words if all(words.values()) and "train" in words.values() else begins
    by_split: dict[Split | None, list[str]] = {}
    for file, split in begins.items():
        by_split.setdefault(split, []).append(file)
    if None in by_split and len(by_split) > 1:
        named, nameless = next(files[0] for split, files in by_split.items() if split is not None), by_split[None][0]
        raise DataError(
            f"{shown(root)}: the name {name_of(named)} names a split and {name_of(nameless)} does not; let all begin"
            " with a split, or none"
        )
    splits: dict[Split | None, list[str]] = {split: by_split[split] for split in (*SPLITS, None) if split in by_split}
    return SplitFiles(folder, splits, {split: shown(root) for split in SPLITS if split in splits}, [])


def _first_split(name: str) -> Split | None:
    found = _WORD.match(name.lower())
    return None if found is None else SPLIT_OF_NAME[found[1]]


def _only_split(name: str) -> Split | None:
    found = {SPLIT_OF_NAME[word] for word in _WORD.findall(name.lower())}
    return found.pop() if len(found) == 1 else None
