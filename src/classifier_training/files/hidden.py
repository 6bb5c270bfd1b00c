"""Which files and folders are nobody's images: hidden ones, and what systems and programs leave behind."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

_LEFT_BEHIND: Final = frozenset(
    {
        "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "__macosx", "$recycle.bin", "recycler",
        "system volume information", "lost+found",
    }
)  # fmt: skip
"""Thumbnails, waste baskets and snapshots of Synology, QNAP, macOS, Windows and Linux; lower case. Their files, such as
``Thumbs.db``, have no extension of an image and are counted as other files."""


def is_skipped(name: str) -> bool:
    """Whether a file or folder of this name, without its path, is passed over.

    The ``._cat.jpg`` of macOS and ``.ipynb_checkpoints`` are among the hidden ones.
    """
    return name.startswith(".") or is_left_behind(name)


def is_left_behind(name: str) -> bool:
    """Whether a name that is not hidden is that of something a system or a program has left behind."""
    return name.lower() in _LEFT_BEHIND


def leads_up(path: str, start: str) -> bool:
    """Whether a link leads to a folder that ``start`` lies in, so that following it would find everything twice."""
    return Path(path).is_symlink() and Path(start).resolve().is_relative_to(os.path.realpath(path))


def skipped_notice(where: str, paths: Iterable[str]) -> list[str]:
    """A message about what was passed over, with its kinds and their numbers; none where there was nothing to say."""
    kinds = Counter(name for name in (PurePosixPath(path).name for path in paths) if is_left_behind(name))
    if not kinds:
        return []
    named = ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items()))
    return [f"what systems and programs have left below {where} is skipped: {named}"]
