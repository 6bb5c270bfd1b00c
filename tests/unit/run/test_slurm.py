from __future__ import annotations

import os
from pathlib import Path

import pytest
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from classifier_training.run.slurm import is_first_task, is_started_by_srun, requeue_slurm_job, slurm_job, was_requeued

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SLURM is of POSIX")


@pytest.fixture(autouse=True)
def _no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)


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
def test_one_task_speaks_for_the_job(monkeypatch: pytest.MonkeyPatch, number: str | None, expected: bool) -> None:
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
def test_srun_is_seen_as_lightning_sees_it(
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


def test_what_scontrol_complains_of_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scontrol(tmp_path, "echo 'Requested operation is\npresently disabled' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    told = "scontrol requeue 42 ended with exit code 1: Requested operation is presently disabled"
    assert requeue_slurm_job("42") == told


def test_where_there_is_no_scontrol_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    told = requeue_slurm_job("42")
    assert told is not None
    assert told.startswith("scontrol requeue 42: ")
    assert "No such file" in told
