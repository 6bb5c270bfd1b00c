"""Where image caches can be: on the disk of the cache folder, in shared memory, in the temporary folder."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from classifier_training.data.cache.budget import Budget, disk_budget, memory_budget
from classifier_training.data.cache.store import CacheStore

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the folder in it is checked to be of this user
_STORE: Final = "pictures"


@dataclass(frozen=True, slots=True)
class CacheLocation:
    """One location for caches.

    Attributes:
        kind: Its name in messages.
        store: The caches there.
        limit: ``data.cache_limit``, bytes; None: see `budget`.
        budget: What they may take together, from what they take now.
        is_temporary: A cache goes when the last run that uses it ends.
        note: What the user should know; may be empty.
    """

    kind: Literal["memory", "disk"]
    store: CacheStore
    limit: int | None
    budget: Callable[[int], Budget]
    is_temporary: bool = False
    note: str = ""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lets one process at a time make, open and remove caches here.

        Raises:
            OSError: The location cannot be written, or belongs to somebody else.
        """
        if self.is_temporary:
            _make_private(self.store.folder.parent)
        with self.store.locked():
            yield


def disk_location(root: Path, limit: int | None, *, is_chosen: bool) -> CacheLocation:
    """The cache folder.

    Args:
        root: It; need not exist.
        limit: ``data.cache_limit``, bytes.
        is_chosen: Whether the user chose the disk.
    """
    store = CacheStore(root / _STORE)
    return CacheLocation("disk", store, limit, lambda now: disk_budget(store.folder, now, limit, is_chosen=is_chosen))


def memory_location(limit: int | None, shared_memory: Path) -> CacheLocation | None:
    """Shared memory; None on a system that has none."""
    if not os.access(shared_memory, os.R_OK | os.W_OK | os.X_OK):
        return None
    store = CacheStore(_private_folder(shared_memory) / _STORE)
    return CacheLocation(
        "memory", store, limit, lambda now: memory_budget(shared_memory, now, limit), is_temporary=True
    )


def temporary_location(limit: int | None) -> CacheLocation:
    """The temporary folder, for a system without shared memory."""
    store = CacheStore(_private_folder(Path(tempfile.gettempdir())) / _STORE)
    return CacheLocation(
        "disk",
        store,
        limit,
        lambda now: disk_budget(store.folder, now, limit, is_chosen=True),
        is_temporary=True,
        note="this system has no shared memory, so the temporary folder is used",
    )


def remove_abandoned(shared_memory: Path) -> None:
    """Removes the temporary caches of runs that were killed."""
    for location in (memory_location(None, shared_memory), temporary_location(None)):
        if location is not None and location.store.folder.exists():
            with contextlib.suppress(OSError), location.locked():
                location.store.clean()
                location.store.remove_unused(0)


def _private_folder(parent: Path) -> Path:
    return parent / f"classifier-training-{os.getuid() if hasattr(os, 'getuid') else 'pictures'}"


def _make_private(folder: Path) -> None:
    """Makes a folder that nobody else can write to, in one that everybody can write to."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
        raise PermissionError(1, "it belongs to another user", str(folder))
