"""Processes that somebody else has started train one model into one run folder."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.cli import ENVIRONMENT, LOOKED_AT, TINY, WarmProgram, read_until

from classifier_training.run.folder import RunFolder

SETTINGS = (*TINY, "data.test_fraction=0.3", "trainer.devices=2", "trainer.max_epochs=1")
PROGRAM = ("-m", "classifier_training", "train")


def check_run(folder: Path, told: str) -> None:
    """One process has talked, and written one run."""
    (root,) = (folder / "runs").iterdir()
    run = RunFolder(root)
    assert told.count("run folder: ") == 1, told
    assert told.count("epoch 1/1") == 1, told
    results = json.loads(run.results.read_text(encoding="utf-8"))
    assert results["test"]["num_images"] > 0
    assert run.onnx.is_file()


def test_torchrun(photos: Path, tmp_path: Path) -> None:
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    ended = subprocess.run(
        (*launcher, *PROGRAM, photos, *SETTINGS),
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended
    check_run(tmp_path, ended.stdout)


@pytest.fixture
def tasks() -> list[dict[str, str]]:
    """The variables that srun gives to two tasks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    job = {
        "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    return [{**job, "SLURM_PROCID": number, "SLURM_LOCALID": number} for number in "01"]


def test_srun(program: WarmProgram, photos: Path, tmp_path: Path, tasks: list[dict[str, str]]) -> None:
    """The second process learns the batch size, which the first one has measured, when they have met."""
    words = ("train", photos, *SETTINGS, "data.batch_size=auto")
    with program.together(*words, folder=tmp_path, environments=tasks) as processes:
        ended = [process.end() for process in processes]
    assert [end.code for end in ended] == [0, 0], ended
    check_run(tmp_path, ended[0].out)
    assert ended[1].out == ""


def test_srun_with_a_name_for_the_run(
    program: WarmProgram, photos: Path, tmp_path: Path, tasks: list[dict[str, str]]
) -> None:
    words = ("train", photos, *SETTINGS, *LOOKED_AT, "run.name=mine")
    with program.together(*words, folder=tmp_path, environments=tasks) as processes:
        ended = [process.end() for process in processes]
    assert [end.code for end in ended] == [0, 0], ended
    check_run(tmp_path, ended[0].out)
    assert ended[1].out == ""
    assert RunFolder(tmp_path / "runs" / "mine").report.is_file()


def test_a_killed_task_ends_the_others_with_one_line(
    program: WarmProgram, photos: Path, tmp_path: Path, tasks: list[dict[str, str]]
) -> None:
    settings = [*(word for word in SETTINGS if "max_epochs" not in word), "trainer.max_epochs=1000"]
    words: tuple[str | Path, ...] = ("train", photos, *settings)
    with program.together(*words, folder=tmp_path, environments=tasks) as (first, second):
        read_until(first, "epoch 2/1000")
        second.kill()
        ended = first.end()

    assert ended.code == 1, ended
    assert "process 0 of 2 (from 0) has lost the connection to another one" in ended.out.splitlines()[-1]
    assert "the run can be resumed" in ended.out.splitlines()[-1]
    assert "Traceback" not in ended.out
