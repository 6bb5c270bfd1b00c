"""What a job of SLURM knows of itself, and how it asks to be run again."""

from __future__ import annotations

import os
import subprocess  # SLURM's scontrol alone is called, with fixed words

from classifier_training.errors import first_line

SCONTROL_TIMEOUT_SECONDS = 60


def slurm_job() -> str | None:
    """The id by which SLURM knows this job, ``<job>_<task>`` in a job array; None outside of SLURM."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '0')}" if array else os.environ.get("SLURM_JOB_ID") or None


def is_first_task() -> bool:
    """Whether this process speaks for its job, of which ``srun`` may have started many."""
    return os.environ.get("SLURM_PROCID", "0") == "0"


def is_started_by_srun() -> bool:
    """Whether ``srun`` has started the processes of one training; Lightning sees it the same way.

    Jobs of these two names are a person's shell, in which processes are started otherwise.
    """
    return "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in {"bash", "interactive"}


def was_requeued() -> bool:
    """Whether SLURM has started this job before."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") not in {"", "0"}


def requeue_slurm_job(job: str) -> str | None:
    """Asks SLURM to put this job into the queue again, which also ends it; call it last.

    Args:
        job: From `slurm_job`.

    Returns:
        What went wrong; None: nothing.
    """
    command = ["scontrol", "requeue", job]
    try:
        ended = subprocess.run(  # noqa: S603 - the user's SLURM
            command, capture_output=True, text=True, timeout=SCONTROL_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{' '.join(command)}: {first_line(error)}"
    if ended.returncode:
        said = " ".join((ended.stderr or ended.stdout).split())
        return f"{' '.join(command)} ended with exit code {ended.returncode}: {said}"
    return None
