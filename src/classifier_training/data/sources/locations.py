"""Paths and addresses alike: what lies in a folder, what it is called, and all that is below it.

Whatever detects a layout works on these functions alone, so that a folder means the same on a disk and at an address.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NoReturn

from classifier_training.data.sources.address import file_name, is_remote, join, shown, split_address
from classifier_training.data.sources.remote import Entries, list_folder
from classifier_training.errors import DataError
from classifier_training.files.hidden import is_skipped, leads_up
from classifier_training.imaging.decode import IMAGE_EXTENSIONS


def entries(folder: str, skipped: set[str] | None = None) -> Entries:
    """The visible files and folders in a folder or at an address, in lexicographic order.

    Args:
        folder: A path or an address.
        skipped: Takes the others, hidden or left behind by a system.

    Raises:
        DataError: The folder cannot be read.
    """
    if is_remote(folder):
        return list_folder(folder, skipped=skipped)
    try:
        found = sorted(Path(folder).iterdir())
    except OSError as error:
        refuse_unreadable(error)
    visible = [path for path in found if not is_skipped(path.name)]
    if skipped is not None:
        skipped.update(str(path) for path in found if is_skipped(path.name))
    folders = [str(path) for path in visible if path.is_dir() and not leads_up(str(path), folder)]
    return Entries([str(path) for path in visible if not path.is_dir()], folders)


def files_below(folder: str, skipped: set[str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Every folder below, itself first, with the names of its visible files, both in a stable order.

    Links to folders are followed, once each, but not those that lead back up. The names of an address are those that
    `join` adds to it. What is hidden, or was left behind by a system, goes into ``skipped``.

    Raises:
        DataError: A folder cannot be read.
    """
    if is_remote(folder):
        found = list_folder(folder, skipped=skipped)
        yield folder, [split_address(file)[1] for file in found.files]
        for below in found.folders:
            yield from files_below(below, skipped)
        return
    visited: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse_unreadable):
        real = os.path.realpath(parent)
        if real in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(real)
        if skipped is not None:
            skipped.update(os.path.join(parent, name) for name in (*folders, *files) if is_skipped(name))  # noqa: PTH118
        folders[:] = sorted(
            name
            for name in folders
            if not is_skipped(name) and not leads_up(os.path.join(parent, name), folder)  # noqa: PTH118
        )
        yield parent, sorted(name for name in files if not is_skipped(name))


def refuse_unreadable(error: OSError) -> NoReturn:
    """Names the folder that cannot be read.

    Raises:
        DataError: Always.
    """
    raise DataError(f"cannot read the folder {error.filename}: {error.strerror}") from None


def is_folder(location: str) -> bool:
    """Whether there is such a folder on a disk; an address may be one."""
    return is_remote(location) or Path(location).is_dir()


def name_of(location: str) -> str:
    """The last part of a path or an address."""
    return file_name(location) if is_remote(location) else Path(location).name


def parent_of(location: str) -> str:
    """The folder of a path or an address."""
    return split_address(location)[0] if is_remote(location) else str(Path(location).parent)


def inside(folder: str, name: str) -> str:
    """The path or the address of what is called ``name`` in a folder."""
    return join(folder, name) if is_remote(folder) else os.path.join(folder, name)  # noqa: PTH118 - as above


def show(location: str) -> str:
    """A path or an address for a message: without the password or the signature that it may hold."""
    return shown(location) if is_remote(location) else location


def extension_of(name: str, folder: str = "") -> str:
    """The ending of a file's name, lower case, with the dot; of a path, an address, or a name in a ``folder``."""
    if is_remote(folder or name):
        return PurePosixPath(file_name(join(folder, name) if folder else name)).suffix.lower()
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path for each of a million files takes seconds


def is_image(location: str) -> bool:
    """Whether a file's name ends like that of an image."""
    return extension_of(location) in IMAGE_EXTENSIONS
