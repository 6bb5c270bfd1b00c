"""Processes that somebody else has started train one model into one run folder."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.cli import ENVIRONMENT, LOOKED_AT, TINY

from classifier_training.run.folder import RunFolder

SETTINGS = (*TINY, *LOOKED_AT, "data.test_fraction=0.3", "trainer.devices=2", "trainer.max_epochs=1")
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
    assert run.report.is_file()


def test_torchrun(photos: Path, tmp_path: Path) -> None:
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    ended = subprocess.run(
        (*launcher, *PROGRAM, photos, *SETTINGS),
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended
    check_run(tmp_path, ended.stdout)


@pytest.mark.parametrize("name", [None, "mine"])
def test_srun(photos: Path, tmp_path: Path, name: str | None) -> None:
    """Two tasks with the variables that srun gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    job = {
        "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    tasks = [
        subprocess.Popen(
            (sys.executable, *PROGRAM, photos, *SETTINGS, *([] if name is None else [f"run.name={name}"])),
            cwd=tmp_path, env={**ENVIRONMENT, **job, "SLURM_PROCID": number, "SLURM_LOCALID": number},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for number in "01"
    ]  # fmt: skip
    told = [task.communicate()[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], told
    check_run(tmp_path, told[0])
    assert told[1] == ""
