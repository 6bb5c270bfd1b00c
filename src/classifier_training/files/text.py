"""Text of messages: always writable as UTF-8, a few names of many, the file that was probably meant."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

NUM_NAMED: Final = 3
"""How many offenders a message names before it only counts."""


def plain_text(text: str) -> str:
    """Text that can be written as UTF-8: bytes of a file name that are not UTF-8 become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is something at a path; a text that cannot be one, as it is too long, names nothing.

    Raises:
        PermissionError: A folder on the way may not be searched.
    """
    try:
        Path(path).stat()
    except PermissionError:
        raise
    except (OSError, ValueError):  # a NUL in it is a ValueError
        return False
    return True


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file at a path; as `exists`."""
    return exists(path) and Path(path).is_file()


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder at a path; as `exists`."""
    return exists(path) and Path(path).is_dir()


def name_some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - NUM_NAMED} more" if len(listed) > NUM_NAMED else ""
    return ", ".join(listed[:NUM_NAMED]) + more


def did_you_mean(path: str | os.PathLike[str]) -> str:
    """The end of a message about a missing path: ``; did you mean photos/train?``, or nothing.

    Of the first part of the path that does not exist, the most similar name in its folder is tried.
    """
    missing = Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser fails on an unknown ~user
    rest: list[str] = []
    while not os.path.lexists(missing.parent):
        rest.insert(0, missing.name)
        missing = missing.parent
    try:
        names = {entry.name.lower(): entry.name for entry in sorted(missing.parent.iterdir())}
    except OSError:
        return ""
    for near in difflib.get_close_matches(missing.name.lower(), names, cutoff=0.7):
        candidate = missing.with_name(names[near]).joinpath(*rest)
        if exists(candidate):
            return f"; did you mean {candidate}?"
    return ""
