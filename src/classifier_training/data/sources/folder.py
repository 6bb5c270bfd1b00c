"""Image folders: one folder a class, with or without split folders above them; on a disk or at an address."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from classifier_training.data.sources.address import is_remote
from classifier_training.data.sources.listing import SPLIT_OF_NAME, Listing, RowWriter
from classifier_training.data.sources.locations import (
    entries,
    extension_of,
    files_below,
    is_image,
    name_of,
    show,
)
from classifier_training.data.sources.table_columns import TABLE_EXTENSIONS
from classifier_training.errors import DataError
from classifier_training.files.hidden import skipped_notice
from classifier_training.files.text import name_some, special_kind
from classifier_training.imaging.decode import IMAGE_EXTENSIONS
from classifier_training.imaging.ignored import describe_ignored
from classifier_training.types import SPLITS, Progress, Split

_THREADS_OF_REMOTE: Final = 8


def split_folders(root: str | os.PathLike[str]) -> dict[Split, str]:
    """The folders in ``root``, a path or an address, that are splits, by the split they are.

    A folder named like a split that holds images directly is a class of that name (a photo of a train).

    Raises:
        DataError: Two folders could both be the same split, or there are only such "classes".
    """
    root = os.fspath(root)
    found: dict[Split, str] = {}
    subfolders = entries(root).folders
    for folder in subfolders:
        split = split_of(folder)
        if split is None or not _holds_classes_or_table(folder):
            continue
        if split in found:
            raise DataError(
                f"{show(root)} has two folders that could both be the {split} split: {name_of(found[split])} and"
                f" {name_of(folder)}; rename or move one of them"
            )
        found[split] = folder
    if subfolders and not found and all(map(split_of, subfolders)):
        names = name_some(map(name_of, subfolders))
        raise DataError(
            f"{show(root)} has the splits {names} without class folders in them; expected"
            f" {show(subfolders[0])}/<class>/<image>"
        )
    return found


def list_split_folders(
    root: str | os.PathLike[str],
    folders: Mapping[Split, str],
    progress: Progress | None = None,
    wrapped: Mapping[Split, str] | None = None,
) -> Listing:
    """Lists ``{train, val, test}/<class>/…``; what else lies in ``root`` is only warned of.

    Args:
        root: Where the split folders lie.
        folders: The split folders.
        progress: Reports how many class folders have been scanned.
        wrapped: The folder with the class folders, for splits in which it lies deeper than the split folder.
    """
    root = os.fspath(root)
    rows, warnings, watched, skipped = RowWriter(), list[str](), [root], set[str]()
    places = {split: (wrapped or folders).get(split, folders[split]) for split in SPLITS if split in folders}
    classes = {split: entries(place, skipped).folders for split, place in places.items()}
    scans = _scan([folder for found in classes.values() for folder in found], progress, skipped)
    for split, found in classes.items():
        watched.append(folders[split])
        if places[split] != folders[split]:
            watched.append(places[split])
            entries(folders[split], skipped)
            _warn_of_stray_images(folders[split], warnings)
        _add_classes(rows, places[split], [next(scans) for _ in found], split, warnings, watched)
    ignored = [
        folder for folder in entries(root, skipped).folders if folder not in folders.values() and holds_images(folder)
    ]
    if ignored:
        warnings.append(f"images next to the split folders are ignored: {name_some(map(show, ignored))}")
    _warn_of_stray_images(root, warnings)
    warnings += skipped_notice(show(root), skipped)
    names = ", ".join(name_of(folders[split]) for split in classes)
    locations = {split: show(place) for split, place in places.items()}
    layout = f"split folders ({names}) with one folder per class"
    return Listing(layout, rows.table(), locations, warnings, _on_disk(watched))


def list_class_folders(root: str | os.PathLike[str], progress: Progress | None = None) -> Listing:
    """Lists ``root/<class>/…``, classes and files in lexicographic order; ``root`` is a path or an address.

    Hidden files and folders are ignored, and so is what systems and programs leave behind, with a warning. Images may
    lie deeper below their class folder.
    """
    root = os.fspath(root)
    rows, warnings, watched, skipped = RowWriter(), list[str](), [root], set[str]()
    scans = list(_scan(entries(root, skipped).folders, progress, skipped))
    _add_classes(rows, root, scans, None, warnings, watched)
    warnings += skipped_notice(show(root), skipped)
    return Listing("one folder per class, no splits", rows.table(), {}, warnings, _on_disk(watched))


@dataclass(frozen=True, slots=True)
class _Scan:
    """What lies in one class folder: image names by folder, and how many other files of each kind."""

    folder: str
    images: list[tuple[str, list[str]]]
    others: Counter[str]


def _scan(folders: Sequence[str], progress: Progress | None, skipped: set[str]) -> Iterator[_Scan]:
    """Scans class folders in parallel; the order stays."""
    is_any_remote = any(map(is_remote, folders[:1]))
    threads = _THREADS_OF_REMOTE if is_any_remote else min(32, 4 * (os.cpu_count() or 1))
    with ThreadPoolExecutor(threads) as pool:
        for number, scan in enumerate(pool.map(lambda folder: _scan_class(folder, skipped), folders), start=1):
            if progress is not None:
                progress(number, len(folders))
            yield scan


def _scan_class(folder: str, skipped: set[str]) -> _Scan:
    images, others = list[tuple[str, list[str]]](), Counter[str]()
    for parent, files in files_below(folder, skipped):
        endings = [extension_of(name, parent) for name in files]
        images.append((parent, [name for name, end in zip(files, endings, strict=True) if end in IMAGE_EXTENSIONS]))
        others.update(end or "no extension" for end in endings if end not in IMAGE_EXTENSIONS)
    return _Scan(folder, images, others)


def _add_classes(
    rows: RowWriter, root: str, scans: Sequence[_Scan], split: Split | None, warnings: list[str], watched: list[str]
) -> None:
    others: Counter[str] = Counter()
    for scan in scans:
        for parent, names in scan.images:
            watched.append(parent)
            rows.add(parent, names, name_of(scan.folder), split=split)
        others += scan.others
        if not any(names for _, names in scan.images):
            left_out = "; the class is left out" if split in {None, "train"} else ""
            warnings.append(f"class folder {show(scan.folder)} holds no images{left_out}")
    _warn_of_stray_images(root, warnings)
    if others:
        warnings.append(describe_ignored(show(root), others))


def _warn_of_stray_images(root: str, warnings: list[str]) -> None:
    files = entries(root).files
    special = [] if is_remote(root) else [f"{file} ({kind})" for file in files if (kind := special_kind(file))]
    if special:
        warnings.append(f"not read: {name_some(special)}")
    stray = sum(map(is_image, files))
    if stray:
        warnings.append(f"{stray} image(s) lie directly in {show(root)}, outside any class folder, and are ignored")


def _on_disk(watched: list[str]) -> list[str]:
    """What can be watched: an address is listed again at every start."""
    return [location for location in watched if not is_remote(location)]


def split_of(location: str) -> Split | None:
    """The split that a folder or a table is named like."""
    return SPLIT_OF_NAME.get(name_of(location).lower())


def holds_images(folder: str) -> bool:
    """Whether there is an image anywhere below; what cannot be read holds none."""
    try:
        return any(
            extension_of(name, parent) in IMAGE_EXTENSIONS for parent, files in files_below(folder) for name in files
        )
    except DataError:
        return False


def _holds_classes_or_table(folder: str) -> bool:
    """Whether a folder named like a split is one: it has class folders, a table, or nothing at all."""
    files, folders = entries(folder)
    if folders or any(name_of(file).startswith("annotations.") for file in files):
        return True
    if any(name_of(file) in {f"metadata{extension}" for extension in TABLE_EXTENSIONS} for file in files):
        return True
    return not any(map(is_image, files))
