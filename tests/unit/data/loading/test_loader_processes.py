"""Loader processes: which signals reach them, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from classifier_training.data.loading.loaders import LEFT_TO_THE_MAIN_PROCESS, loader_options, start_worker

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
ROOT = Path(__file__).parents[4]


class Numbers(Dataset[Tensor]):
    """0, 1, 2 …; from ``stuck_from`` on nothing comes any more."""

    def __init__(self, stuck_from: int = 1000) -> None:
        self.stuck_from = stuck_from

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> Tensor:
        if index >= self.stuck_from:
            signal.sigwait([signal.SIGUSR2])
        return torch.tensor(index)


def make_iterator(dataset: Numbers) -> Any:
    """A running loader with one worker."""
    options = loader_options(1) | {"collate_fn": None, "prefetch_factor": 1}
    assert options["worker_init_fn"] is start_worker
    return iter(DataLoader(cast("Dataset[Any]", dataset), 1, **options))


def worker_of(iterator: Any) -> BaseProcess:
    (worker,) = iterator._workers
    return cast("BaseProcess", worker)


@pytest.mark.parametrize("number", LEFT_TO_THE_MAIN_PROCESS, ids=lambda number: signal.Signals(number).name)
def test_a_worker_survives_what_is_sent_to_the_whole_job(number: int) -> None:
    iterator = make_iterator(Numbers())
    assert int(next(iterator)) == 0

    # from another process, as a terminal or a scheduler does it
    subprocess.run(["kill", f"-{number}", str(worker_of(iterator).pid)], check=True)

    assert [int(next(iterator)) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert worker_of(iterator).is_alive()


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="the sender of a signal is not known here")
def test_a_stuck_worker_ends_when_its_loader_terminates_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)  # how long it waits before
    iterator = make_iterator(Numbers(stuck_from=1))
    assert int(next(iterator)) == 0
    worker = worker_of(iterator)

    iterator._shutdown_workers()

    worker.join(timeout=60)
    assert not worker.is_alive()


PROGRAM = """
import sys
import torch.utils.data._utils.worker
from tests.unit.data.loading.test_loader_processes import Numbers, make_iterator

torch.utils.data._utils.worker.MP_STATUS_CHECK_INTERVAL = 0.2  # how often a worker looks for its main process
iterator = make_iterator(Numbers())
next(iterator)
print("loading", flush=True)
sys.stdin.readline()
"""


def test_workers_end_with_a_main_process_that_is_killed() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.kill()
        # the worker holds the other end of this pipe, too: there is an end only when it is gone
        assert process.communicate(timeout=60)[0] == ""
