"""Image folders: one folder a class, with or without split folders above them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from classifier_training.data.sources.listing import SPLIT_OF_NAME, SPLITS, Listing, Split
from classifier_training.errors import DataError
from classifier_training.imaging.decode import IMAGE_EXTENSIONS
from classifier_training.types import Sample


def split_folders(root: Path) -> dict[Split, Path]:
    """The folders below ``root`` that are splits, by the split they are.

    A folder named like a split that holds pictures directly is a class of that name (a photo of a train).

    Raises:
        DataError: Two folders could both be the same split.
    """
    found: dict[Split, Path] = {}
    for folder in _subfolders(root):
        split = SPLIT_OF_NAME.get(folder.name.lower())
        if split is None or not _holds_classes_or_table(folder):
            continue
        if split in found:
            raise DataError(
                f"{root} has two folders that could both be the {split} split: {found[split].name} and {folder.name};"
                " rename or move one of them"
            )
        found[split] = folder
    return found


def list_split_folders(folders: dict[Split, Path]) -> Listing:
    """Lists ``{train, val, test}/<class>/…``."""
    warnings: list[str] = []
    splits = {split: list_class_folders(folders[split], warnings) for split in SPLITS if split in folders}
    names = ", ".join(folders[split].name for split in splits)
    return Listing(f"split folders ({names}) with one folder a class", splits=splits, warnings=warnings)


def list_class_folders(root: Path, warnings: list[str]) -> list[Sample]:
    """Lists ``root/<class>/…``, classes and files in lexicographic order; adds to ``warnings``.

    Hidden files and folders are ignored. Pictures may lie deeper below their class folder.
    """
    samples: list[Sample] = []
    others: Counter[str] = Counter()
    for folder in _subfolders(root):
        before = len(samples)
        for path in _files_below(folder):
            if _is_image(path):
                samples.append(Sample(path, folder.name))
            else:
                others[os.path.splitext(path)[1].lower() or "no extension"] += 1
        if len(samples) == before:
            warnings.append(f"class folder {folder} holds no images; the class is left out")
    stray = sum(
        _is_image(entry.name) and not entry.name.startswith(".") for entry in os.scandir(root) if entry.is_file()
    )
    if stray:
        warnings.append(f"{stray} image(s) lie directly in {root}, outside any class folder, and are ignored")
    if others:
        kinds = ", ".join(f"{count} × {kind}" for kind, count in sorted(others.items()))
        warnings.append(f"files below {root} that are no images are ignored: {kinds}")
    return samples


def _subfolders(root: Path) -> list[Path]:
    """The visible folders in ``root``, in lexicographic order."""
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read the folder {root}: {error.strerror}") from None
    return [root / name for name in names]


def _files_below(folder: Path) -> Iterator[str]:
    """Every visible file below ``folder``, in a stable order; links to folders are followed."""
    visited: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.join(parent, name)


def _is_image(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in IMAGE_EXTENSIONS


def _holds_classes_or_table(folder: Path) -> bool:
    """Whether a folder named like a split is one: it has class folders, a table, or nothing at all."""
    entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    if any(entry.is_dir() or entry.name.startswith("annotations.") for entry in entries):
        return True
    return not any(_is_image(entry.name) for entry in entries)
