"""Who uses a cache: one locked file a run, which the operating system unlocks however the run ends."""

from __future__ import annotations

import contextlib
import os
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from classifier_training.data.cache.locks import held_locks, new_lock, remove_lock
from classifier_training.data.cache.marks import CacheMarks

if TYPE_CHECKING:
    from filelock import BaseFileLock

_FOLDER: Final = "users"
_MARKS_SUFFIX: Final = ".marks"


class CacheUse:
    """One run's use of a cache; ends when `end` is called, or with the process. A pickled copy has nothing to end.

    Args:
        marks: What the run's processes find out about the images.
        lock: What keeps the cache from being removed; None: it is read-only.
        after: Called when the use has ended.
    """

    def __init__(
        self, marks: CacheMarks, lock: BaseFileLock | None = None, after: Callable[[], None] | None = None
    ) -> None:
        self.marks = marks
        self._end: weakref.finalize[Any, CacheUse] | None = weakref.finalize(
            self, _end, os.getpid(), marks.path, lock, after
        )

    @classmethod
    def register(cls, folder: Path, count: int, after: Callable[[], None] | None = None) -> CacheUse:
        """Uses a cache of ``count`` images; ``after`` is called when the use has ended.

        Raises:
            OSError: Nothing can be written there.
        """
        lock = new_lock(folder / _FOLDER)
        path = Path(lock.lock_file)
        try:
            return cls(CacheMarks.create(path.with_suffix(_MARKS_SUFFIX), count), lock, after)
        except OSError:
            lock.release()
            remove_lock(path, _MARKS_SUFFIX)
            raise

    @classmethod
    def read_only(cls, count: int) -> CacheUse:
        """Uses a cache in which nothing can be written; others may remove it, and who has its files open keeps them."""
        try:
            number, name = tempfile.mkstemp(prefix="classifier-training-", suffix=_MARKS_SUFFIX)
            os.close(number)
            return cls(CacheMarks.create(Path(name), count))
        except OSError:
            return cls(CacheMarks(None, count))

    def __getstate__(self) -> dict[str, Any]:
        return {"marks": self.marks, "_end": None}

    def end(self) -> None:
        """Lets the cache go; more calls do nothing."""
        if self._end is not None:
            self._end()


def is_used(folder: Path) -> bool:
    """Whether a run that is alive uses a cache; removes what dead ones left in it."""
    return bool(held_locks(folder / _FOLDER, _MARKS_SUFFIX))


def _end(pid: int, marks: Path | None, lock: BaseFileLock | None, after: Callable[[], None] | None) -> None:
    if os.getpid() != pid:  # a forked process ends, and the run continues
        return
    if marks is not None:
        with contextlib.suppress(OSError):
            marks.unlink()
    if lock is not None:
        lock.release()
        remove_lock(Path(lock.lock_file), _MARKS_SUFFIX)
    if after is not None:
        after()
