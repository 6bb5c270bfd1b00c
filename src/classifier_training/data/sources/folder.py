"""Image folders: one folder a class, with or without split folders above them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from classifier_training.data.sources.listing import SPLIT_OF_NAME, Listing, RowWriter
from classifier_training.errors import DataError
from classifier_training.imaging.decode import IMAGE_EXTENSIONS
from classifier_training.types import SPLITS, Progress, Split


def split_folders(root: Path) -> dict[Split, Path]:
    """The folders below ``root`` that are splits, by the split they are.

    A folder named like a split that holds images directly is a class of that name (a photo of a train).

    Raises:
        DataError: Two folders could both be the same split, or there are only such "classes".
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


def list_split_folders(root: Path, folders: dict[Split, Path], progress: Progress | None = None) -> Listing:
    """Lists ``{train, val, test}/<class>/…``; what else lies in ``root`` is only warned of."""
    rows, warnings, watched = RowWriter(), list[str](), [str(root)]
    classes = {split: _subfolders(folders[split]) for split in SPLITS if split in folders}
    scans = iter(_scan([folder for found in classes.values() for folder in found], progress))
    for split, found in classes.items():
        watched.append(str(folders[split]))
        _add_classes(rows, folders[split], [next(scans) for _ in found], split, warnings, watched)
    ignored = [folder for folder in _subfolders(root) if folder not in folders.values() and _holds_images(folder)]
    if ignored:
        warnings.append(f"images next to the split folders are ignored: {', '.join(map(str, ignored))}")
    _warn_of_stray_images(root, warnings)
    names = ", ".join(folders[split].name for split in classes)
    locations = {split: str(folders[split]) for split in classes}
    return Listing(f"split folders ({names}) with one folder per class", rows.table(), locations, warnings, watched)


def list_class_folders(root: Path, progress: Progress | None = None) -> Listing:
    """Lists ``root/<class>/…``, classes and files in lexicographic order.

    Hidden files and folders are ignored. Images may lie deeper below their class folder.
    """
    rows, warnings, watched = RowWriter(), list[str](), [str(root)]
    _add_classes(rows, root, list(_scan(_subfolders(root), progress)), None, warnings, watched)
    return Listing("one folder per class, no splits", rows.table(), {}, warnings, watched)


@dataclass(frozen=True, slots=True)
class _Scan:
    """What lies in one class folder: image names by folder, and how many other files of each kind."""

    folder: Path
    images: list[tuple[str, list[str]]]
    others: Counter[str]


def _scan(folders: Sequence[Path], progress: Progress | None) -> Iterator[_Scan]:
    """Scans class folders in parallel; the order stays."""
    with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:
        for number, scan in enumerate(pool.map(_scan_class, folders), start=1):
            if progress is not None:
                progress(number, len(folders))
            yield scan


def _scan_class(folder: Path) -> _Scan:
    images, others = list[tuple[str, list[str]]](), Counter[str]()
    for parent, files in _files_below(folder):
        images.append((parent, [name for name in files if _is_image(name)]))
        others.update(_extension(name) or "no extension" for name in files if not _is_image(name))
    return _Scan(folder, images, others)


def empty_class_folder(folder: str, split: Split | None) -> str:
    """The warning about it; a class without training images is left out."""
    return f"class folder {folder} holds no images" + ("; the class is left out" if split in {None, "train"} else "")


def _add_classes(
    rows: RowWriter, root: Path, scans: Sequence[_Scan], split: Split | None, warnings: list[str], watched: list[str]
) -> None:
    others: Counter[str] = Counter()
    for scan in scans:
        for parent, names in scan.images:
            watched.append(parent)
            rows.add(parent, names, scan.folder.name, split=split)
        others += scan.others
        if not any(names for _, names in scan.images):
            warnings.append(empty_class_folder(str(scan.folder), split))
    _warn_of_stray_images(root, warnings)
    if others:
        kinds = ", ".join(f"{count} × {kind}" for kind, count in sorted(others.items()))
        warnings.append(f"files below {root} that are not images are ignored: {kinds}")


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
        _refuse_unreadable(error)


def _subfolders(root: Path) -> list[Path]:
    return [path for path in _visible(root) if path.is_dir()]


def _files_below(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder below, itself first, with its visible files in a stable order; links to folders are followed."""
    visited: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_refuse_unreadable):
        real = os.path.realpath(parent)
        if real in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield parent, sorted(name for name in files if not name.startswith("."))


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise DataError(f"cannot read the folder {error.filename}: {error.strerror}") from None


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
