"""The CPU time that a control group of Linux allows; nothing here imports torch."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cpus() -> int:
    """How many CPUs this process may use: by affinity and by the quota of its control group; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    quota = cgroup_quota(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    return max(1, min(count, int(quota) if quota is not None else count))


def cgroup_quota(groups: Path, membership: Path) -> float | None:
    """The CPU time a second that this process's control groups and those above allow; None: they have no limit.

    Args:
        groups: Where control groups are mounted.
        membership: The file that names the process's groups, a line each: ``0::/path``, or ``4:cpu,cpuacct:/path``.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    quotas: list[float | None] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        roots = [groups / controllers, groups / "cpu", groups / "cpu,cpuacct"] if controllers else [groups]
        parts = Path(path.strip().lstrip("/")).parts
        # in a container the path is often that of the host, and what is mounted is the group itself
        inside = [Path(*parts[:count]) for count in range(len(parts), -1, -1) if ".." not in parts]
        folders = {root / one for root in roots for one in inside or [Path()]}
        quotas += map(_quota_v1 if controllers else _quota_v2, folders)
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_v2(folder: Path) -> float | None:
    fields = _read(folder / "cpu.max").split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields) or fields[1] == "0":
        return None  # also "max 100000"
    return int(fields[0]) / int(fields[1])


def _quota_v1(folder: Path) -> float | None:
    quota, period = (_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(quota) and int(period) else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
