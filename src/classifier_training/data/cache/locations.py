"""Where image caches can be, and what they may take there: on a disk, in shared memory, in the temporary folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from classifier_training.data.cache.store import CacheStore

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the folder in it is checked to be of this user
_STORE: Final = "pictures"
DEFAULT_SHARE: Final = 0.2
"""Share of a disk's free space that caches may take where ``data.cache_limit`` is not set."""
CHOSEN_SHARE: Final = 0.5
"""The same where the user chose the disk."""
MEMORY_SHARE: Final = 0.5
_SPARE_SHARE: Final = 0.05  # a disk that is filled to the last byte affects everybody else on the machine
_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUPS: Final = Path("/proc/self/cgroup")


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
    """The cache folder ``root``, which need not exist; other arguments as of `disk_budget`."""
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


@dataclass(frozen=True, slots=True)
class Budget:
    """What all caches of a store together may take.

    Attributes:
        num_bytes: Bytes.
        reason: Where that comes from, human-readable.
    """

    num_bytes: int
    reason: str


def disk_budget(folder: Path, num_bytes_now: int, limit: int | None, *, is_chosen: bool) -> Budget:
    """What caches on a disk may take: never less than now because others have filled the disk.

    Args:
        folder: An existing folder of the disk.
        num_bytes_now: What caches take there already.
        limit: ``data.cache_limit``, bytes; None: a share of what is free without them.
        is_chosen: Whether the user chose the disk.
    """
    free = shutil.disk_usage(folder).free
    if limit is None:
        share = CHOSEN_SHARE if is_chosen else DEFAULT_SHARE
        reason = f"{share:.0%} of the free space; data.cache_limit sets it"
        return Budget(max(int((free + num_bytes_now) * share), num_bytes_now), reason)
    most = num_bytes_now + int(free * (1 - _SPARE_SHARE))
    return Budget(limit, "data.cache_limit") if limit <= most else Budget(most, "the free space")


def memory_budget(shared_memory: Path, num_bytes_now: int, limit: int | None) -> Budget:
    """What caches in a file system in memory may take; other arguments as of `disk_budget`."""
    budgets = [
        Budget(int((available_memory() + num_bytes_now) * MEMORY_SHARE), "half of the free memory"),
        Budget(shutil.disk_usage(shared_memory).free + num_bytes_now, f"the free space of {shared_memory}"),
    ]
    if limit is not None:
        budgets.append(Budget(limit, "data.cache_limit"))
    return min(budgets, key=lambda budget: budget.num_bytes)


def available_memory(cgroups: Path = _CGROUPS, own_cgroups: Path = _OWN_CGROUPS) -> int:
    """Memory that this process can still get, bytes: what the machine has, and what its container allows."""
    import psutil  # scoring an ONNX file works without it

    return max(0, min([psutil.virtual_memory().available, *_left_in_cgroups(cgroups, own_cgroups)]))


def _left_in_cgroups(cgroups: Path, own_cgroups: Path) -> list[int]:
    """What each control group around this process leaves; version 2 and version 1."""
    try:
        lines = own_cgroups.read_text().splitlines()
    except OSError:  # no Linux
        return []
    left: list[int | None] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files, root = ("memory.max", "memory.current", "inactive_file"), cgroups
        elif "memory" in controllers.split(","):
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            root = cgroups / "memory"
        else:
            continue
        group = root / path.lstrip("/")
        # a container sees its own group as the root, not at this path
        left += [_left_in(folder, *files) for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return [number for number in left if number is not None]


def _left_in(folder: Path, limit: str, usage: str, reclaimable: str) -> int | None:
    """What one control group leaves; None where it has no limit."""
    try:
        most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
        facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return most - used + int(facts.get(reclaimable, 0))
    except (OSError, ValueError):  # no such group, or its limit is "max"
        return None
