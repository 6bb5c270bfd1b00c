"""What keeps loader processes from starting or from sending batches, as one line that says what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch

from classifier_training.errors import ClassifierTrainingError, DataError, RunError
from classifier_training.run.surroundings import MISSING_GUARD

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where Linux keeps it
_BYTES_OF_LOADER: Final = 64 * 1024
"""Locks, queues and small tensors of a loader process and of each further one; the images are elsewhere."""
_TOO_SMALL: Final = ("out of shared memory", "Bus error", "unable to allocate shared memory", "torch_shm_manager")


def check_shared_memory(num_workers: int, folder: Path = SHARED_MEMORY) -> None:
    """Makes sure that loader processes have room for what they share, before they start.

    Args:
        num_workers: Loader processes.
        folder: The file system of shared memory, which a container limits; nothing is checked where there is none.

    Raises:
        DataError: It is too small.
    """
    if not num_workers or not hasattr(os, "statvfs"):
        return
    try:
        found = os.statvfs(folder)
    except OSError:
        return
    free, needed = found.f_bavail * found.f_frsize, (num_workers + 1) * _BYTES_OF_LOADER
    if free < needed:
        why = f"{free // 1024} KiB are free, and {num_workers} loader processes need {needed // 1024} KiB at least"
        raise DataError(_too_small(why))


@contextlib.contextmanager
def explain_loader_failures() -> Iterator[None]:
    """Turns torch's and the operating system's words about loader processes into one line.

    Raises:
        DataError: Shared memory is too small.
        RunError: A script without a main guard was imported again by the processes that it has spawned.
    """
    try:
        yield
    except ClassifierTrainingError:
        raise
    except (OSError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and not error.filename:
            raise DataError(_too_small("no space is left")) from None
        if any(words in text for words in _TOO_SMALL):
            raise DataError(_too_small("a loader process found no space")) from None
        has_ended = isinstance(error, BrokenPipeError) or ("DataLoader worker" in text and "exited" in text)
        if has_ended and torch.multiprocessing.get_start_method() != "fork":
            raise RunError(f"the loader processes could not start: {MISSING_GUARD}") from None
        raise


def _too_small(why: str) -> str:
    return (
        f"{SHARED_MEMORY} is too small: {why}; set data.num_workers=0, or give the container more with docker run"
        " --shm-size=1g"
    )
