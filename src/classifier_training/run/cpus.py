"""The CPUs that this process may use: by affinity, by the quota of its control group, by SLURM."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from classifier_training.run.cgroup import cgroup_quota
from classifier_training.run.processes import is_started_by_srun
from classifier_training.run.surroundings import is_daemonic

MAX_LOADER_PROCESSES: Final = 8


@dataclass(frozen=True, slots=True)
class CpuLimit:
    """The tightest of all limits.

    Attributes:
        count: Number of CPUs, at least 1.
        reason: Where the limit comes from, for a message.
        is_of_process: Whether it holds for this process alone; otherwise all processes of the run on this machine
            share it.
    """

    count: int
    reason: str
    is_of_process: bool = False


def cpu_limit(
    environ: Mapping[str, str],
    *,
    num_ranks: int = 1,
    is_srun_task: bool = False,
    affinity: int | None = None,
    num_cpus: int | None = None,
    groups: Path = Path("/sys/fs/cgroup"),
    membership: Path = Path("/proc/self/cgroup"),
) -> CpuLimit:
    """How many CPUs may be used, by stated facts.

    Args:
        environ: The environment variables.
        num_ranks: Processes of the run on this machine.
        is_srun_task: Whether srun has started each of them; SLURM's limits for a task are then theirs alone.
        affinity: CPUs that the operating system lets this process run on; None: it has no such limit.
        num_cpus: CPUs of the machine; None: unknown.
        groups: Where control groups are mounted.
        membership: The file with this process's control groups.
    """
    limits = [CpuLimit(max(1, num_cpus or 1), "of this machine")]
    on_node = _whole(environ.get("SLURM_CPUS_ON_NODE"))
    if affinity is not None:
        # srun binds tasks to their own CPUs: together they fit into what the job has on this machine
        is_bound = is_srun_task and on_node is not None and affinity * num_ranks <= on_node
        limits.append(CpuLimit(max(1, affinity), "by affinity", is_bound))
    quota = cgroup_quota(groups, membership)
    if quota is not None:
        limits.append(CpuLimit(max(1, int(quota)), "by the control group's quota"))
    if on_node is not None:
        limits.append(CpuLimit(on_node, "by SLURM_CPUS_ON_NODE"))
    per_task = _whole(environ.get("SLURM_CPUS_PER_TASK"))
    if per_task is not None:
        limits.append(CpuLimit(per_task, "by SLURM_CPUS_PER_TASK", is_srun_task))
    return min(limits, key=lambda limit: limit.count if limit.is_of_process else limit.count / num_ranks)


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and int(text) else None


@dataclass(frozen=True, slots=True)
class LoaderProcesses:
    """How many processes load images for one device.

    Attributes:
        count: Number of processes; 0: the training process loads them itself.
        reason: Why so many, for the plan.
        notice: What the user has to know; None: nothing.
    """

    count: int
    reason: str
    notice: str | None = None


NO_LOADERS: Final = LoaderProcesses(0, "")


def loader_processes(wanted: int | None, limit: CpuLimit, num_ranks: int, *, may_start: bool) -> LoaderProcesses:
    """How many loader processes each device gets, by stated facts.

    Args:
        wanted: ``data.num_workers``; None: by the CPUs.
        limit: The CPUs that may be used.
        num_ranks: Processes of the run on this machine, which share them.
        may_start: Whether Python allows this process children; a daemonic one has none.
    """
    if not may_start:
        notice = (
            "this process is daemonic, as those of multiprocessing.Pool and Celery are, and may start no others:"
            " images are loaded in it, data.num_workers=0"
        )
        return LoaderProcesses(0, "this process may start none", None if wanted == 0 else notice)
    if wanted is not None:
        return LoaderProcesses(wanted, "data.num_workers")
    share = limit.count if limit.is_of_process else limit.count // num_ranks
    cpus = f"{limit.count} CPU{'s' * (limit.count != 1)} {limit.reason}"
    if num_ranks > 1 and not limit.is_of_process:
        cpus = f"{cpus}, shared by {num_ranks} devices"
    return LoaderProcesses(min(MAX_LOADER_PROCESSES, max(1, share)), cpus)


def decide_loader_processes(wanted: int | None, num_ranks: int = 1) -> LoaderProcesses:
    """How many loader processes each device of this machine gets, here and now."""
    return loader_processes(wanted, cpu_limit_here(num_ranks), num_ranks, may_start=not is_daemonic())


def cpu_limit_here(num_ranks: int = 1) -> CpuLimit:
    """How many CPUs may be used, here and now; see `cpu_limit`."""
    return cpu_limit(
        os.environ,
        num_ranks=num_ranks,
        is_srun_task=is_started_by_srun() and (_whole(os.environ["SLURM_NTASKS"]) or 1) > 1,
        affinity=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        num_cpus=os.cpu_count(),
    )
