"""The CPUs of simulated machines: the files of control groups are given as folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from classifier_training.run.cgroup import cgroup_quota
from classifier_training.run.cpus import (
    MAX_LOADER_PROCESSES,
    CpuLimit,
    cpu_limit,
    decide_loader_processes,
    loader_processes,
)


def write_files(root: Path, files: Mapping[str, str]) -> tuple[Path, Path]:
    """The mounted control groups, and the file of this process's own."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root / "groups", root / "membership"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"membership": "0::/", "groups/cpu.max": "max 100000"}, None),
        ({"membership": "0::/", "groups/cpu.max": "150000 100000"}, 1.5),
        ({"membership": "0::/user/job", "groups/user/job/cpu.max": "400000 100000"}, 4.0),
        # the group above allows less; one that is mounted as the root of a container has another path on its host
        ({"membership": "0::/a/b", "groups/a/b/cpu.max": "800000 100000", "groups/a/cpu.max": "200000 100000"}, 2.0),
        ({"membership": "0::/kubepods/pod1", "groups/cpu.max": "300000 100000"}, 3.0),
        ({"membership": "0::/../other", "groups/cpu.max": "300000 100000"}, 3.0),
        ({"membership": "4:cpu,cpuacct:/job", "groups/cpu,cpuacct/job/cpu.cfs_quota_us": "-1",
          "groups/cpu,cpuacct/job/cpu.cfs_period_us": "100000"}, None),
        ({"membership": "12:memory:/job\n4:cpu,cpuacct:/job", "groups/cpu,cpuacct/job/cpu.cfs_quota_us": "250000",
          "groups/cpu,cpuacct/job/cpu.cfs_period_us": "100000"}, 2.5),
        ({"membership": "4:cpu:/docker/1", "groups/cpu/cpu.cfs_quota_us": "100000",
          "groups/cpu/cpu.cfs_period_us": "100000"}, 1.0),
        ({"membership": "0::/", "groups/cpu.max": "nonsense"}, None),
        ({"membership": "0::/", "groups/cpu.max": "100 0"}, None),
    ],
)  # fmt: skip
def test_the_quota_of_a_control_group(tmp_path: Path, files: Mapping[str, str], expected: float | None) -> None:
    assert cgroup_quota(*write_files(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("environ", "facts", "expected"),
    [
        ({}, {"num_cpus": 64}, CpuLimit(64, "of this machine")),
        ({}, {"num_cpus": None}, CpuLimit(1, "of this machine")),
        ({}, {"num_cpus": 64, "affinity": 6}, CpuLimit(6, "by affinity")),
        ({"SLURM_CPUS_ON_NODE": "4"}, {"num_cpus": 64, "affinity": 6}, CpuLimit(4, "by SLURM_CPUS_ON_NODE")),
        ({"SLURM_CPUS_PER_TASK": "3"}, {"num_cpus": 64}, CpuLimit(3, "by SLURM_CPUS_PER_TASK")),
        ({"SLURM_CPUS_PER_TASK": "many"}, {"num_cpus": 64}, CpuLimit(64, "of this machine")),
        # two tasks of srun with four CPUs each, of eight of the job: bound to their own, or not bound
        (
            {"SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "8"},
            {"num_cpus": 64, "affinity": 4, "num_ranks": 2, "is_srun_task": True},
            CpuLimit(4, "by affinity", is_of_process=True),
        ),
        (
            {"SLURM_CPUS_PER_TASK": "4"},
            {"num_cpus": 64, "affinity": 64, "num_ranks": 2, "is_srun_task": True},
            CpuLimit(4, "by SLURM_CPUS_PER_TASK", is_of_process=True),
        ),
        # without binding, what the job has on the machine is shared
        (
            {"SLURM_CPUS_ON_NODE": "8"},
            {"num_cpus": 64, "affinity": 8, "num_ranks": 2, "is_srun_task": True},
            CpuLimit(8, "by affinity"),
        ),
    ],
)
def test_the_tightest_limit_counts(
    tmp_path: Path, environ: Mapping[str, str], facts: dict[str, int], expected: CpuLimit
) -> None:
    groups, membership = write_files(tmp_path, {})
    assert cpu_limit(environ, groups=groups, membership=membership, **facts) == expected  # type: ignore[arg-type]  # by name


def test_a_quota_is_rounded_down_and_at_least_one(tmp_path: Path) -> None:
    for text, expected in (("250000 100000", 2), ("50000 100000", 1)):
        groups, membership = write_files(tmp_path, {"membership": "0::/", "groups/cpu.max": text})
        limit = cpu_limit({}, num_cpus=64, affinity=32, groups=groups, membership=membership)
        assert limit == CpuLimit(expected, "by the control group's quota")


@pytest.mark.parametrize(
    ("wanted", "limit", "num_ranks", "count", "reason"),
    [
        (None, CpuLimit(2, "by affinity"), 1, 2, "2 CPUs by affinity"),
        (None, CpuLimit(1, "of this machine"), 1, 1, "1 CPU of this machine"),
        (None, CpuLimit(64, "of this machine"), 1, MAX_LOADER_PROCESSES, "64 CPUs of this machine"),
        (None, CpuLimit(16, "by affinity"), 4, 4, "16 CPUs by affinity, shared by 4 devices"),
        (None, CpuLimit(3, "by affinity"), 4, 1, "3 CPUs by affinity, shared by 4 devices"),
        (None, CpuLimit(4, "by SLURM_CPUS_PER_TASK", is_of_process=True), 4, 4, "4 CPUs by SLURM_CPUS_PER_TASK"),
        (3, CpuLimit(64, "of this machine"), 4, 3, "data.num_workers"),
        (0, CpuLimit(64, "of this machine"), 1, 0, "data.num_workers"),
    ],
)
def test_loader_processes_are_shared_among_the_devices(
    wanted: int | None, limit: CpuLimit, num_ranks: int, count: int, reason: str
) -> None:
    decided = loader_processes(wanted, limit, num_ranks, may_start=True)
    assert (decided.count, decided.reason, decided.notice) == (count, reason, None)


@pytest.mark.parametrize(("wanted", "is_noticed"), [(None, True), (2, True), (0, False)])
def test_a_daemonic_process_starts_none(wanted: int | None, is_noticed: bool) -> None:
    decided = loader_processes(wanted, CpuLimit(8, "of this machine"), 1, may_start=False)
    assert decided.count == 0
    assert (decided.notice is not None) is is_noticed
    if decided.notice is not None:
        assert "data.num_workers=0" in decided.notice


def test_here_and_now_there_is_at_least_one() -> None:
    assert 1 <= decide_loader_processes(None).count <= MAX_LOADER_PROCESSES
    assert decide_loader_processes(None, num_ranks=1000).count == 1
