"""Locked files that say who uses what: the operating system unlocks one however its process ends."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from filelock import BaseFileLock

_SUFFIX: Final = ".lock"


def new_lock(folder: Path, *, parents: bool = False) -> BaseFileLock:
    """A new locked file of this process, which any of its threads may release.

    Args:
        folder: Is made if it is missing.
        parents: Whether the folders above it are made too.

    Raises:
        OSError: Nothing can be written there.
    """
    from filelock import FileLock

    folder.mkdir(parents=parents, exist_ok=True)
    lock = FileLock(folder / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}", thread_local=False)
    lock.acquire(blocking=False)
    return lock


def held_locks(folder: Path, *suffixes: str) -> list[Path]:
    """The locks of processes that are alive; removes those of dead ones.

    Args:
        folder: As of `new_lock`.
        suffixes: As of `remove_lock`.
    """
    held = []
    for path in folder.glob(f"*{_SUFFIX}"):
        if _is_held(path):
            held.append(path)
        else:
            remove_lock(path, *suffixes)
    return held


def remove_lock(path: Path, *suffixes: str) -> None:
    """Removes a lock that has been released, after the files of the same name with other suffixes."""
    for file in (*map(path.with_suffix, suffixes), path):
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)


def _is_held(path: Path) -> bool:
    from filelock import FileLock

    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except OSError:  # it is held (a timeout is an OSError), or another user's: rather keep too much
        return True
    lock.release()
    return False
