from __future__ import annotations

import os
from pathlib import Path

import pytest

from classifier_training.errors import DataError, TrainingStopped
from classifier_training.run.folder import RunFolder
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.interruption import report_interruption

RUN = RunFolder(Path("runs/a"))
HOW = "the run is not finished; resume it with: classifier-training train --resume runs/a"


@pytest.fixture(autouse=True)
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job of SLURM; gives the file with what its ``scontrol`` was asked."""
    program = tmp_path / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "asked"


@pytest.mark.parametrize(
    ("stop", "run", "line"),
    [
        (TrainingStopped("SIGTERM"), RUN, f"stopped by SIGTERM in epoch 3; {HOW}"),
        (TrainingStopped("SIGTERM"), None, "stopped by SIGTERM in epoch 3; nothing was written"),
        (KeyboardInterrupt(), RUN, f"stopped in epoch 3; {HOW}"),
        (KeyboardInterrupt(), None, None),
        (DataError("no photos"), RUN, None),
    ],
)
def test_a_stop_is_reported_with_how_to_resume_also_when_quiet(
    stop: BaseException, run: RunFolder | None, line: str | None, scontrol: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(type(stop)), report_interruption(Terminal(quiet=True), lambda: "in epoch 3", run):
        raise stop
    assert capsys.readouterr().out.splitlines() == ([] if line is None else [line])
    assert not scontrol.exists()


@pytest.mark.skipif(os.name == "nt", reason="SLURM is of POSIX")
@pytest.mark.parametrize(
    ("silent", "task", "asked"), [(False, "0", True), (True, "0", False), (False, "1", False)], ids=str
)
def test_one_process_of_a_job_asks_slurm_to_requeue_it(
    silent: bool, task: str, asked: bool, scontrol: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_PROCID", task)
    with pytest.raises(TrainingStopped), report_interruption(Terminal(silent=silent), lambda: "", RUN):
        raise TrainingStopped("SIGUSR1")
    assert scontrol.exists() is asked
    if asked:
        assert scontrol.read_text() == "requeue 42\n"
