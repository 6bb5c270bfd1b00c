"""Text of messages: always writable as UTF-8, a few names of many, the file that was probably meant."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from classifier_training.types import refuse_special

NUM_NAMED: Final = 3
"""How many offenders a message names before it only counts."""
LONGEST_SHOWN: Final = 300
"""How many characters of a path, or of another text that a user gave, a message shows."""
NUM_ALLOWED: Final = 20
"""How many of the names that would be right a message names."""


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


def short_text(text: str, most: int = LONGEST_SHOWN) -> str:
    """A text that a person can read: what is longer loses its middle.

    Example:
        >>> short_text("/data/a/very/long/path.jpg", 15)
        '/data/a…ath.jpg'
    """
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"


def short_words(text: str) -> str:
    """A message whose words, such as paths, are no longer than `LONGEST_SHOWN`."""
    return re.sub(rf"\S{{{LONGEST_SHOWN + 1},}}", lambda found: short_text(found[0]), text)


def why_no_file(path: str | os.PathLike[str], message: str) -> str:
    """The message where a file was expected: ``message`` with what was meant, or what is there that is no file."""
    special = special_kind(path)
    if special is not None:
        return f"cannot read {path}: {special}"
    if is_folder(path):
        return f"cannot read {path}: it is a folder and not a file"
    return f"{message}{did_you_mean(path)}"


def as_it_is(path: str | os.PathLike[str]) -> str:
    """The end of a message where a folder was expected: what is there instead, or what was meant."""
    special = special_kind(path) or ("it is a file" if is_file(path) else None)
    return f": {special}" if special else did_you_mean(path)


def special_kind(path: str | os.PathLike[str]) -> str | None:
    """That a path is a FIFO, a device or a socket, as the end of a message; None: it is none of them, or missing."""
    try:
        refuse_special(path)
    except PermissionError:
        raise
    except OSError as error:
        return None if error.errno else str(error)
    except ValueError:  # a NUL in it
        return None
    return None


def name_some(names: Iterable[str], most: int = NUM_NAMED, total: int | None = None) -> str:
    """The first few names, and how many more there are; ``total`` where ``names`` are not all."""
    listed = list(names)
    num_more = (len(listed) if total is None else total) - most
    more = f" and {num_more} more" if num_more > 0 else ""
    return ", ".join(listed[:most]) + more


def did_you_mean(path: str | os.PathLike[str]) -> str:
    """The end of a message about a missing path: ``; did you mean photos/train?``, or nothing.

    Of the first part of the path that does not exist, the most similar name in its folder is tried.
    """
    asked = missing = Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser fails on an unknown ~user
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
        if candidate != asked and exists(candidate):
            return f"; did you mean {candidate}?"
    return ""


def show_bytes(num_bytes: int) -> str:
    """A number of bytes, human-readable: ``412 GB``, ``0.2 GB``, ``64 MB``."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if num_bytes >= size / 10:
            return f"{num_bytes / size:.{0 if num_bytes >= 10 * size else 1}f} {unit}"
    return f"{max(0, num_bytes) / 1000:.0f} kB"
