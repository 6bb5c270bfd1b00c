"""The end of a training that was stopped: its message, and the request to SLURM to requeue it."""

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
    """Prints where a training stopped and how to resume it, and requeues a SLURM job that was sent SIGUSR1.

    Args:
        terminal: Where messages go.
        where: Called after the stop; returns how far the training came.
        run: The run folder; None before there is one, when nothing is lost.
    """
    resume = f"the run is not finished; resume it with: classifier-training train --resume {run.root}" if run else ""
    try:
        yield
    except KeyboardInterrupt:
        if run is not None:
            terminal.result(f"stopped {where()}; {resume}")
        raise
    except TrainingStopped as stop:
        terminal.result(f"{stop} {where()}; {resume or 'nothing was written'}")
        job = slurm_job()
        if stop.signal == REQUEUE_SIGNAL and job is not None and is_first_task() and not terminal.silent:
            terminal.result(f"asking SLURM to requeue job {job}, which then resumes the run")
            fault = requeue_slurm_job(job)
            if fault is not None:
                terminal.warn(f"job {job} was not requeued: {fault}")
        raise
