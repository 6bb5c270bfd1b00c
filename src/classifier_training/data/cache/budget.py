"""How much image caches may take, on a disk and in memory."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

DEFAULT_SHARE: Final = 0.2
"""Share of a disk's free space that caches may take where ``data.cache_limit`` is not set."""
CHOSEN_SHARE: Final = 0.5
"""The same where the user chose the disk."""
MEMORY_SHARE: Final = 0.5
_SPARE_SHARE: Final = 0.05  # a disk that is filled to the last byte affects everybody else on the machine

_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUPS: Final = Path("/proc/self/cgroup")


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
    """What caches in memory may take.

    Args:
        shared_memory: The file system in memory.
        num_bytes_now: What caches take there already.
        limit: ``data.cache_limit``, bytes; None: no further limit.
    """
    budgets = [
        Budget(int((available_memory() + num_bytes_now) * MEMORY_SHARE), "half of the free memory"),
        Budget(shutil.disk_usage(shared_memory).free + num_bytes_now, f"the free space of {shared_memory}"),
    ]
    if limit is not None:
        budgets.append(Budget(limit, "data.cache_limit"))
    return min(budgets, key=lambda budget: budget.num_bytes)


def available_memory(cgroups: Path = _CGROUPS, own_cgroups: Path = _OWN_CGROUPS) -> int:
    """Memory that this process can still get, bytes: what the machine has, and what its container allows.

    Args:
        cgroups: Where Linux shows control groups.
        own_cgroups: Where it shows those of this process.
    """
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


def show_bytes(num_bytes: int) -> str:
    """A number of bytes, human-readable: ``412 GB``, ``0.2 GB``, ``64 MB``."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if num_bytes >= size / 10:
            return f"{num_bytes / size:.{0 if num_bytes >= 10 * size else 1}f} {unit}"
    return f"{max(0, num_bytes) / 1000:.0f} kB"
