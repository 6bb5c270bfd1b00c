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
        DataError: Two folders could both be the same split, or nothing but such "classes" is there.
    """
    found: dict[Split, Path] = {}
    subfolders = _subfolders(root)
    for folder in subfolders:
        split = _split_of(folder)
        if split is None or not _holds_classes_or_table(folder):
            continue
        if split in found:
            raise DataError(
                f"{root} has two folders that could both be the {split} split: {found[split].name} and {folder.name};"
                " rename or move one of them"
            )
        found[split] = folder
    if subfolders and not found and all(map(_split_of, subfolders)):
        names = ", ".join(folder.name for folder in subfolders)
        raise DataError(
            f"{root} has the splits {names} without class folders in them; expected {subfolders[0]}/<class>/<image>"
        )
    return found


def list_split_folders(root: Path, folders: dict[Split, Path]) -> Listing:
    """Lists ``{train, val, test}/<class>/…``; what else lies in ``root`` is only warned of."""
    warnings: list[str] = []
    splits = {split: list_class_folders(folders[split], warnings) for split in SPLITS if split in folders}
    beside = [folder for folder in _subfolders(root) if folder not in folders.values() and _holds_images(folder)]
    if beside:
        warnings.append(f"images beside the split folders are ignored: {', '.join(map(str, beside))}")
    _warn_of_stray_images(root, warnings)
    names = ", ".join(folders[split].name for split in splits)
    places = {split: str(folders[split]) for split in splits}
    return Listing(f"split folders ({names}) with one folder a class", splits=splits, places=places, warnings=warnings)


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
                others[_extension(path) or "no extension"] += 1
        if len(samples) == before:
            warnings.append(f"class folder {folder} holds no images; the class is left out")
    _warn_of_stray_images(root, warnings)
    if others:
        kinds = ", ".join(f"{count} × {kind}" for kind, count in sorted(others.items()))
        warnings.append(f"files below {root} that are no images are ignored: {kinds}")
    return samples


def _warn_of_stray_images(root: Path, warnings: list[str]) -> None:
    stray = sum(_is_image(path.name) and not path.is_dir() for path in _visible(root))
    if stray:
        warnings.append(f"{stray} image(s) lie directly in {root}, outside any class folder, and are ignored")


def _visible(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, in lexicographic order."""
    try:
        visible = (path for path in folder.iterdir() if not path.name.startswith("."))
        return sorted(visible, key=lambda path: path.name)
    except OSError as error:
        raise _unreadable(error) from None


def _subfolders(root: Path) -> list[Path]:
    return [path for path in _visible(root) if path.is_dir()]


def _files_below(folder: Path) -> Iterator[str]:
    """Every visible file below ``folder``, in a stable order; links to folders are followed."""
    visited: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        real = os.path.realpath(parent)
        if real in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.join(parent, name)  # noqa: PTH118 - a Path for each of a million files takes seconds


def _refuse(error: OSError) -> None:
    raise _unreadable(error) from None


def _unreadable(error: OSError) -> DataError:
    return DataError(f"cannot read the folder {error.filename}: {error.strerror}")


def _split_of(folder: Path) -> Split | None:
    return SPLIT_OF_NAME.get(folder.name.lower())


def _is_image(path: str) -> bool:
    return _extension(path) in IMAGE_EXTENSIONS


def _extension(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - as above


def _holds_images(folder: Path) -> bool:
    """Whether there is an image anywhere below; what cannot be read holds none."""
    return any(_is_image(name) for _, _, files in os.walk(folder) for name in files if not name.startswith("."))


def _holds_classes_or_table(folder: Path) -> bool:
    """Whether a folder named like a split is one: it has class folders, a table, or nothing at all."""
    entries = _visible(folder)
    if any(path.is_dir() or path.name.startswith("annotations.") for path in entries):
        return True
    return not any(_is_image(path.name) for path in entries)
