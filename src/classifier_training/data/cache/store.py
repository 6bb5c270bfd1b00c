"""The folder of all image caches: who may change it when, what they take, and which of them are removed."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from classifier_training.data.cache.making import META_FILE, NEW
from classifier_training.data.cache.users import is_used

_LOCK_FILE: Final = ".lock"
_LOCK_SECONDS: Final = 300.0
_OLD: Final = ".old-"
_BLOCK_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class StoredCache:
    """A cache that lies in a store.

    Attributes:
        folder: Where.
        num_bytes: What it may grow to.
        num_bytes_now: What it takes now.
        used_at_ns: When it was last opened.
    """

    folder: Path
    num_bytes: int
    num_bytes_now: int
    used_at_ns: int


class CacheStore:
    """All image caches in one folder. Whoever makes, opens or removes one holds the lock; storing needs none.

    Args:
        folder: Is made when it is locked for the first time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lets one process at a time in.

        Raises:
            OSError: The folder cannot be made or written, or another process holds it for minutes.
        """
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / _LOCK_FILE, timeout=_LOCK_SECONDS):
            yield

    def clean(self) -> None:
        """Removes what a killed process left half made or half removed."""
        for path in self.folder.iterdir():
            if path.name.startswith((NEW, _OLD)):
                shutil.rmtree(path, ignore_errors=True)

    def stored(self) -> list[StoredCache]:
        """All caches, the one that was used longest ago first."""
        folders = (path for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        return sorted(map(_look_at, folders), key=lambda cache: (cache.used_at_ns, cache.folder))

    def num_bytes_now(self) -> int:
        """What all caches take at the moment."""
        return sum(cache.num_bytes_now for cache in self.stored())

    def num_bytes_in_use(self, but: Path) -> int:
        """What the caches that runs use may grow to, all but one."""
        return sum(cache.num_bytes for cache in self.stored() if cache.folder != but and is_used(cache.folder))

    def remove_unused(self, allowed: int, but: Path | None = None) -> list[Path]:
        """Removes caches that nobody uses, oldest use first, until those that are left may grow to ``allowed`` bytes.

        Args:
            allowed: Bytes.
            but: Is neither counted nor removed.

        Returns:
            What was removed.
        """
        removed = []
        caches = [cache for cache in self.stored() if cache.folder != but]
        total = sum(cache.num_bytes for cache in caches)
        for cache in caches:
            if total > allowed and not is_used(cache.folder) and self.remove(cache.folder):
                removed.append(cache.folder)
                total -= cache.num_bytes
        return removed

    def remove(self, folder: Path) -> bool:
        """Removes a cache; False where the system does not let it go. Who has its files open keeps what is open."""
        old = self.folder / f"{_OLD}{secrets.token_hex(8)}"
        try:
            folder.rename(old)
        except OSError:
            return False
        shutil.rmtree(old, ignore_errors=True)
        return True


def _look_at(folder: Path) -> StoredCache:
    statuses = {path.name: path.stat() for path in folder.iterdir() if path.is_file()}
    return StoredCache(
        folder,
        num_bytes=sum(status.st_size for status in statuses.values()),
        # a file with holes takes less than its length; Windows does not say how much
        num_bytes_now=sum(
            status.st_blocks * _BLOCK_BYTES if hasattr(status, "st_blocks") else status.st_size
            for status in statuses.values()
        ),
        used_at_ns=statuses[META_FILE].st_mtime_ns if META_FILE in statuses else 0,
    )
