"""A training that is stopped: what is printed, and the job that is asked for again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from classifier_training.errors import TrainingStopped
from classifier_training.run.events import note_event
from classifier_training.run.folder import RunFolder
from classifier_training.run.processes import is_first_task, requeue_slurm_job, slurm_job
from classifier_training.terminal.terminal import Terminal


@contextlib.contextmanager
def report_interruption(terminal: Terminal, where: Callable[[], str], run: RunFolder | None) -> Iterator[None]:
    """Prints where a training stopped and how to resume it, and requeues a SLURM job that was sent SIGUSR1.

    ``where`` is called after the stop and returns how far the training came; without a run nothing is lost yet.
    """
    resume = f"the run is not finished; resume it with: classifier-training train --resume {run.root}" if run else ""
    try:
        yield
    except KeyboardInterrupt:
        if run is not None:
            reached = where()
            terminal.result(f"stopped {reached}; {resume}")
            note_event(run, f"stopped {reached}")
        raise
    except TrainingStopped as stop:
        reached = where()
        terminal.result(f"{stop} {reached}; {resume or 'nothing was written'}")
        if run is not None:
            note_event(run, f"{stop} {reached}")
        job = slurm_job()
        if stop.signal == "SIGUSR1" and job is not None and is_first_task() and not terminal.silent:
            terminal.result(f"asking SLURM to requeue job {job}, which then resumes the run")
            fault = requeue_slurm_job(job)
            if fault is not None:
                terminal.warn(f"job {job} was not requeued: {fault}")
        raise
