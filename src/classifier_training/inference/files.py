"""Finds the images that a user points at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from classifier_training.errors import DataError
from classifier_training.files.nearest import did_you_mean
from classifier_training.imaging.decode import IMAGE_EXTENSIONS


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """Lists the images in files and folders.

    A file is taken with any name; a folder is searched with all its subfolders for files with an image's
    extension, in sorted order, hidden ones ignored.

    Args:
        paths: Files and folders, in the order to be kept.

    Raises:
        DataError: One does not exist, or none of them has an image.
    """
    sources = [Path(path) for path in paths]
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            found.extend(sorted(_images_below(source)))
        elif source.exists():
            found.append(source)
        else:
            raise DataError(f"no such file or folder: {source}{did_you_mean(source)}")
    if not found:
        if not sources:
            raise DataError("no image was named; name image files, or folders of them")
        extensions = ", ".join(sorted(IMAGE_EXTENSIONS))
        raise DataError(f"no images in {', '.join(map(str, sources))}; searched for files that end in {extensions}")
    return found


def _images_below(folder: Path) -> Iterator[Path]:
    # Folders of photos are often links to other disks; a link back to a parent must not be walked for ever.
    visited: set[str] = set()
    for parent, names, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            names.clear()
            continue
        visited.add(real)
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_EXTENSIONS:
                yield Path(parent, name)
