"""Which parts of the cache folder are in use: every process that reads one says so, and holds a lock until it ends."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from filelock import BaseFileLock

_USERS: Final = "users"
_SUFFIX: Final = ".lock"
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
    alive = [path for path in (cache / _USERS).glob(f"*{_SUFFIX}") if _is_alive(path)]
    times = []
    for path in alive:
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
    return min(times, default=None)


def _register(cache: Path) -> None:
    with _holding:
        if cache in _held:
            return
        from filelock import FileLock

        folder = cache / _USERS
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}", thread_local=False)
        lock.acquire(blocking=False)
        _held[cache] = lock
        if len(_held) > _MOST_HELD:
            _release(next(iter(_held)), os.getpid())
        atexit.register(_release, cache, os.getpid())


def _release(cache: Path, pid: int) -> None:
    if os.getpid() != pid or cache not in _held:  # a forked process ends, and this one continues
        return
    lock = _held.pop(cache)
    lock.release()
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)


def _is_alive(path: Path) -> bool:
    from filelock import FileLock

    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except OSError:  # it is held (a timeout is an OSError), or another user's: rather keep too much
        return True
    lock.release()
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    return False
