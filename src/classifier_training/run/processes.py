"""Which process of a training this is, whoever started it: nobody else, Lightning, torchrun or SLURM.

Within a fit, Lightning's trainer knows it too; everything before, after and outside of one asks here.
"""

from __future__ import annotations

import os
import subprocess  # SLURM's scontrol alone is called, with fixed arguments
from typing import TypeVar

from classifier_training.errors import first_line

T = TypeVar("T")


def is_main_process() -> bool:
    """Whether this is the process that prints and writes; launchers number the others."""
    if is_started_by_srun() and not is_first_task():
        return False
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK"))


def gather_by_rank(value: T) -> list[T]:
    """The values of all processes, by rank; every process must call it. Alone, a process gets its own."""
    import torch  # here, because the rest of this module is asked before anything heavy is imported

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values = [value] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def slurm_job() -> str | None:
    """The id by which SLURM knows this job, ``<job>_<task>`` in a job array; None outside of SLURM."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '0')}" if array else os.environ.get("SLURM_JOB_ID") or None


def is_first_task() -> bool:
    """Whether this is the first process of its job, of which ``srun`` may have started many."""
    return os.environ.get("SLURM_PROCID", "0") == "0"


def is_started_by_srun() -> bool:
    """Whether ``srun`` has started the processes of one training; Lightning detects it the same way.

    Jobs of these two names are interactive shells, in which processes are started otherwise.
    """
    return "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in {"bash", "interactive"}


def was_requeued() -> bool:
    """Whether SLURM has started this job before."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") not in {"", "0"}


def requeue_slurm_job(job: str) -> str | None:
    """Asks SLURM to requeue this job, which also ends it, so call it last; gives what went wrong, or None."""
    command = ["scontrol", "requeue", job]
    try:
        ended = subprocess.run(  # noqa: S603 - the user's SLURM
            command, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{' '.join(command)}: {first_line(error)}"
    if ended.returncode:
        message = " ".join((ended.stderr or ended.stdout).split())
        return f"{' '.join(command)} ended with exit code {ended.returncode}: {message}"
    return None
