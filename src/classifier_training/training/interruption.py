"""The end of a training that was stopped: what is said, and what SLURM is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from classifier_training.errors import TrainingStopped
from classifier_training.run.folder import RunFolder
from classifier_training.run.processes import is_first_task, requeue_slurm_job, slurm_job
from classifier_training.terminal.terminal import Terminal

REQUEUE_SIGNAL = "SIGUSR1"


@contextlib.contextmanager
def report_interruption(terminal: Terminal, where: Callable[[], str], run: RunFolder | None) -> Iterator[None]:
    """Says where a training stopped and how to go on, and puts a job of SLURM that was sent SIGUSR1 into the queue.

    Args:
        terminal: Where messages go.
        where: Asked, after the stop, for how far the training came.
        run: The run folder; None: there is none yet, so nothing is lost.
    """
    try:
        yield
    except KeyboardInterrupt:
        if run is not None:
            terminal.result(f"stopped {where()}; {_how_to_go_on(run)}")
        raise
    except TrainingStopped as stop:
        told = _how_to_go_on(run) if run is not None else "nothing was written"
        terminal.result(f"{stop} {where()}; {told}")
        job = slurm_job()
        if stop.signal == REQUEUE_SIGNAL and job is not None and is_first_task() and not terminal.silent:
            _requeue(job, terminal)
        raise


def _how_to_go_on(run: RunFolder) -> str:
    return f"the run is not finished, go on with: classifier-training train --resume {run.root}"


def _requeue(job: str, terminal: Terminal) -> None:
    terminal.result(f"asking SLURM to requeue job {job}, which then goes on by itself")
    fault = requeue_slurm_job(job)
    if fault is not None:
        terminal.warn(f"job {job} is not requeued: {fault}")
