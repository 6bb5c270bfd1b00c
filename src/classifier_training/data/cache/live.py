"""Which parts of the cache folder are in use: every process that reads one says so, and holds a lock until it ends."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from classifier_training.data.cache.locks import held_locks, new_lock, remove_lock

if TYPE_CHECKING:
    from filelock import BaseFileLock

_USERS: Final = "users"
_MOST_HELD: Final = 64
"""Each takes an open file; a program that uses more cache folders no longer protects the first ones."""
_held: Final[dict[Path, BaseFileLock]] = {}
_holding: Final = threading.Lock()


def note_use(path: Path, cache: Path) -> None:
    """Notes that this process uses a file or folder of the cache folder from now on; what lies elsewhere is ignored.

    The time of the use is the time of change of what is used, which nothing else here depends on. Where nothing can be
    written, nothing is removed either.
    """
    if not path.is_relative_to(cache):
        return
    with contextlib.suppress(OSError, ImportError):  # where an ONNX file is scored there may be no filelock
        _register(cache)
        os.utime(path)


def used_since(cache: Path) -> float | None:
    """When the oldest of the processes that use the cache folder began to, in seconds; None: there is none.

    Removes the locks of processes that have been killed.
    """
    times = []
    for path in held_locks(cache / _USERS):
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
    return min(times, default=None)


def _register(cache: Path) -> None:
    with _holding:
        if cache in _held:
            return
        _held[cache] = new_lock(cache / _USERS, parents=True)
        if len(_held) > _MOST_HELD:
            _release(next(iter(_held)), os.getpid())
        atexit.register(_release, cache, os.getpid())


def _release(cache: Path, pid: int) -> None:
    if os.getpid() != pid or cache not in _held:  # a forked process ends, and this one continues
        return
    lock = _held.pop(cache)
    lock.release()
    remove_lock(Path(lock.lock_file))
