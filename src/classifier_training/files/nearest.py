"""The file that was probably meant by a path that does not exist."""

from __future__ import annotations

import difflib
import os
from pathlib import Path


def did_you_mean(path: str | os.PathLike[str]) -> str:
    """The end of a message about a missing path: ``; did you mean photos/train?``, or nothing.

    Of the first part of the path that does not exist, the most similar name in its folder is tried.
    """
    missing = Path(path).expanduser()
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
        if candidate.exists():
            return f"; did you mean {candidate}?"
    return ""
