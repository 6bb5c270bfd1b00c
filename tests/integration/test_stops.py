"""What a scheduler's signals do to a training: it stops where everything on disk is whole, and goes on later."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.helpers.cli import TINY, Finished, WarmProgram, make_shapes, read_until

from classifier_training.run.events import Events
from classifier_training.run.folder import RunFolder
from classifier_training.run.records import read_record

SETTINGS = (
    *TINY,
    "run.name=asked",
    "data.batch_size=4",
    "data.num_workers=1",
    "trainer.max_epochs=3",
    "checkpoint.every_n_steps=2",
)
SLURM = {
    "SLURM_JOB_ID": "42",
    "SLURM_JOB_NAME": "shapes",
    "SLURM_NTASKS": "1",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_NODEID": "0",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
}


@pytest.fixture(scope="module")
def words(photos: Path) -> tuple[str, ...]:
    return ("train", str(photos), *SETTINGS)


@pytest.fixture(scope="module")
def whole(program: WarmProgram, words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("whole")
    finished = program(*words, folder=folder)
    assert finished.code == 0, finished
    return RunFolder(folder / "runs" / "asked")


def assert_same(run: RunFolder, whole: RunFolder) -> None:
    for name in ("metrics.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "export/model.onnx"):
        assert (run.root / name).read_bytes() == (whole.root / name).read_bytes(), name
    assert not list(run.root.rglob(".*"))


def assert_stopped(stopped: Finished, name: str, where: str) -> None:
    assert stopped.code == 0, stopped
    assert "Traceback" not in stopped.out + stopped.err
    (line,) = [line for line in stopped.out.splitlines() if line.startswith("stopped by")]
    told = "the run is not finished; resume it with: classifier-training train --resume runs/asked"
    assert line == f"stopped by {name} {where}; {told}"


@pytest.mark.parametrize(
    ("number", "whole_group"), [(signal.SIGTERM, True), (signal.SIGUSR1, False)], ids=["SIGTERM", "SIGUSR1"]
)
def test_a_training_that_is_asked_to_stop_does_so_after_the_step(
    program: WarmProgram, words: tuple[str, ...], whole: RunFolder, tmp_path: Path, number: int, whole_group: bool
) -> None:
    # the first time that a last.ckpt gets its name is after the second step
    stopped = program.signalled(number, "/last.ckpt", *words, whole_group=whole_group, folder=tmp_path)

    assert_stopped(stopped, signal.Signals(number).name, "in epoch 1/3 after step 3")
    assert "stopping after this step, last.ckpt will be written" in stopped.err
    run = RunFolder(tmp_path / "runs" / "asked")
    assert torch.load(run.last_checkpoint, weights_only=True)["global_step"] == 3
    assert not run.results.exists()
    assert "stopped by" in run.log.read_text(encoding="utf-8")

    finished = program("train", "--resume", folder=tmp_path)
    assert finished.code == 0, finished
    assert_same(run, whole)


@pytest.mark.parametrize(
    ("place", "where", "how_it_resumes"),
    [
        ("split.csv", "before the first step", "no checkpoint yet: starting from the beginning"),
        ("metrics.csv", "in epoch 2/3 after step {}", "resuming at epoch 2"),
        ("results.json", "after training", "all 3 epochs are already trained: finishing"),
        ("model.onnx", "after training", "all 3 epochs are already trained: finishing"),
    ],
)
def test_wherever_it_is_asked_everything_written_so_far_is_whole(
    program: WarmProgram,
    words: tuple[str, ...],
    whole: RunFolder,
    tmp_path: Path,
    place: str,
    where: str,
    how_it_resumes: str,
) -> None:
    steps = torch.load(whole.last_checkpoint, weights_only=True)["global_step"]
    stopped = program.signalled(signal.SIGTERM, place, *words, folder=tmp_path)

    assert_stopped(stopped, "SIGTERM", where.format(steps // 3))
    run = RunFolder(tmp_path / "runs" / "asked")
    assert not list(run.root.rglob(".*")), "a file that is half written was left"

    finished = program("train", "--resume", "runs/asked", folder=tmp_path)
    assert finished.code == 0, finished
    assert how_it_resumes in finished.out
    assert read_record(run.events, Events).events[0].text == f"stopped by SIGTERM {where.format(steps // 3)}"
    assert_same(run, whole)


def test_before_there_is_a_run_nothing_is_lost(program: WarmProgram, tmp_path: Path) -> None:
    photos = make_shapes(tmp_path / "unseen")
    stopped = program.signalled(signal.SIGTERM, "/unseen/red/", "train", photos, *SETTINGS, folder=tmp_path)

    assert stopped.code == 0, stopped
    assert stopped.out.splitlines()[-1] == "stopped by SIGTERM before training; nothing was written"
    assert not (tmp_path / "runs").exists()


def test_the_python_api_tells_a_stop_from_an_end(program: WarmProgram, words: tuple[str, ...], tmp_path: Path) -> None:
    script = """
import signal, sys
from classifier_training import train
from classifier_training.errors import TrainingStopped

handler = signal.signal(signal.SIGTERM, print)
def ask(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith("/last.ckpt"):
        signal.raise_signal(signal.SIGTERM)
sys.addaudithook(ask)
try:
    train(*sys.argv[2:])
except TrainingStopped as stop:
    print(stop.signal, stop.code, signal.getsignal(signal.SIGTERM) is print)
"""
    finished = program.python(script, *words, folder=tmp_path)
    assert finished.code == 0, finished
    assert finished.out.splitlines()[-1] == "SIGTERM 0 True"


# -- SLURM -------------------------------------------------------------------------------------------------------


@pytest.fixture
def slurm(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Makes the environment of a job; its ``scontrol`` keeps what it was asked, and ends with a given code."""

    def make(code: int = 0, **more: str) -> dict[str, str]:
        tools = tmp_path / "tools"
        tools.mkdir(exist_ok=True)
        program = tools / "scontrol"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho "no such job" >&2\nexit {code}\n')
        program.chmod(0o755)
        return {**SLURM, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", **more}

    return make


def requests(folder: Path) -> list[str]:
    path = folder / "asked"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(
    ("place", "nth"),
    [("split.csv", 1), ("/last.ckpt", 4), ("results.json", 1)],
    ids=["writing", "training", "scoring"],
)
def test_a_job_that_slurm_warns_is_requeued_and_goes_on_by_itself(
    program: WarmProgram,
    words: tuple[str, ...],
    whole: RunFolder,
    tmp_path: Path,
    slurm: Callable[..., dict[str, str]],
    place: str,
    nth: int,
) -> None:
    environment = slurm()
    stopped = program.signalled(
        signal.SIGUSR1, place, *words, nth=nth, whole_group=True, folder=tmp_path, environment=environment
    )
    assert stopped.code == 0, stopped
    assert requests(tmp_path) == ["requeue 42"]
    assert "asking SLURM to requeue job 42" in stopped.out

    # the same command once more, as SLURM does it
    finished = program(*words, folder=tmp_path, environment=environment | {"SLURM_RESTART_COUNT": "1"})

    assert finished.code == 0, finished
    (root,) = (tmp_path / "runs").iterdir()
    assert_same(RunFolder(root), whole)
    assert not list(tmp_path.rglob("hpc_ckpt*")), "Lightning's own requeueing ran, too"
    assert requests(tmp_path) == ["requeue 42"]


def test_a_task_of_an_array_is_requeued_by_its_own_number(
    program: WarmProgram, words: tuple[str, ...], tmp_path: Path, slurm: Callable[..., dict[str, str]]
) -> None:
    environment = slurm(SLURM_ARRAY_JOB_ID="40", SLURM_ARRAY_TASK_ID="2")
    program.signalled(signal.SIGUSR1, "/last.ckpt", *words, folder=tmp_path, environment=environment)
    assert requests(tmp_path) == ["requeue 40_2"]
    run = RunFolder(tmp_path / "runs" / "asked")
    assert json.loads(run.environment.read_text(encoding="utf-8"))["slurm_job"] == "40_2"


def test_a_job_that_is_terminated_is_not_requeued(
    program: WarmProgram, words: tuple[str, ...], tmp_path: Path, slurm: Callable[..., dict[str, str]]
) -> None:
    stopped = program.signalled(signal.SIGTERM, "/last.ckpt", *words, folder=tmp_path, environment=slurm())
    assert stopped.code == 0, stopped
    assert requests(tmp_path) == []


def test_a_requeue_that_fails_is_told(
    program: WarmProgram, words: tuple[str, ...], tmp_path: Path, slurm: Callable[..., dict[str, str]]
) -> None:
    stopped = program.signalled(signal.SIGUSR1, "/last.ckpt", *words, folder=tmp_path, environment=slurm(code=1))
    assert stopped.code == 0, stopped
    told = "warning: job 42 was not requeued: scontrol requeue 42 ended with exit code 1: no such job"
    assert told in stopped.out.splitlines()


def test_a_job_that_slurm_runs_again_after_it_finished_does_nothing_again(
    program: WarmProgram, words: tuple[str, ...], tmp_path: Path, slurm: Callable[..., dict[str, str]]
) -> None:
    assert program(*words, folder=tmp_path, environment=slurm()).code == 0
    again = program(*words, folder=tmp_path, environment=slurm(SLURM_RESTART_COUNT="1"))
    assert again.code == 0, again
    assert "is finished, there is nothing left to do" in again.out


# -- several processes -------------------------------------------------------------------------------------------


def test_when_one_process_of_two_is_asked_both_stop_at_the_same_step(
    program: WarmProgram, photos: Path, tmp_path: Path
) -> None:
    settings = (*SETTINGS, "trainer.devices=2", "trainer.max_epochs=100000", "checkpoint.every_n_minutes=0.0001")
    with program.ranks("train", photos, *settings, folder=tmp_path) as (first, second):
        read_until(first, "epoch 1/")
        os.kill(second.pid, signal.SIGTERM)
        stopped, other = first.end(), second.end()
    assert (stopped.code, other.code) == (0, 0), (stopped, other)
    assert "Traceback" not in stopped.out + other.out
    assert (stopped.out + other.out).count("stopped by SIGTERM in epoch ") == 1
    run = RunFolder(tmp_path / "runs" / "asked")
    content = torch.load(run.last_checkpoint, weights_only=True)
    assert f"after step {content['global_step']};" in stopped.out
