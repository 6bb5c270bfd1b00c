from __future__ import annotations

import os
from pathlib import Path

import pytest
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from classifier_training.run.processes import (
    gather_by_rank,
    is_first_task,
    is_main_process,
    is_started_by_srun,
    requeue_slurm_job,
    slurm_job,
    was_requeued,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SLURM is of POSIX")


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = {"LOCAL_RANK", "NODE_RANK", "GROUP_RANK"}
    for name in [name for name in os.environ if name.startswith("SLURM_") or name in ranks]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, True),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, False),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_NAME": "bash"}, True),
    ],
)
def test_one_process_prints_and_writes(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_main_process() is expected


def test_alone_a_process_gathers_its_own_value() -> None:
    assert gather_by_rank([1.5, 2.0]) == [[1.5, 2.0]]


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": ""}, None),
        ({"SLURM_JOB_ID": "42"}, "42"),
        ({"SLURM_JOB_ID": "44", "SLURM_ARRAY_JOB_ID": "42", "SLURM_ARRAY_TASK_ID": "7"}, "42_7"),
    ],
)
def test_the_job(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], job: str | None) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert slurm_job() == job


@pytest.mark.parametrize(("count", "expected"), [(None, False), ("", False), ("0", False), ("1", True), ("12", True)])
def test_whether_it_was_requeued(monkeypatch: pytest.MonkeyPatch, count: str | None, expected: bool) -> None:
    if count is not None:
        monkeypatch.setenv("SLURM_RESTART_COUNT", count)
    assert was_requeued() is expected


@pytest.mark.parametrize(("number", "expected"), [(None, True), ("0", True), ("1", False), ("12", False)])
def test_one_task_is_the_first_of_its_job(monkeypatch: pytest.MonkeyPatch, number: str | None, expected: bool) -> None:
    if number is not None:
        monkeypatch.setenv("SLURM_PROCID", number)
    assert is_first_task() is expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"SLURM_JOB_NAME": "train"}, False),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train"}, True),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "bash"}, False),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "interactive"}, False),
    ],
)
def test_srun_is_detected_as_lightning_sees_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_started_by_srun() is expected
    assert SLURMEnvironment.detect() is expected


def write_scontrol(folder: Path, script: str) -> None:
    program = folder / "scontrol"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_scontrol_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scontrol(tmp_path, f'echo "$@" > {tmp_path}/asked')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert requeue_slurm_job("42_7") is None
    assert (tmp_path / "asked").read_text() == "requeue 42_7\n"


def test_what_scontrol_complains_of_is_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scontrol(tmp_path, "echo 'Requested operation is\npresently disabled' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    fault = "scontrol requeue 42 ended with exit code 1: Requested operation is presently disabled"
    assert requeue_slurm_job("42") == fault


def test_a_missing_scontrol_is_returned_as_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    fault = requeue_slurm_job("42")
    assert fault is not None
    assert fault.startswith("scontrol requeue 42: ")
    assert "No such file" in fault
