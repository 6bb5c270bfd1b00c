from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from classifier_training.data.loading.failures import check_shared_memory, explain_loader_failures
from classifier_training.errors import DataError, RunError, UserError

ADVICE = r"too small: .*; set data\.num_workers=0, or give the container more with docker run --shm-size=1g$"


def test_shared_memory_that_is_too_small_is_found_before_loaders_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Found:
        f_bavail, f_frsize = 16, 4096

    monkeypatch.setattr(os, "statvfs", lambda folder: Found, raising=False)
    check_shared_memory(0, tmp_path)
    with pytest.raises(DataError, match=ADVICE) as raised:
        check_shared_memory(2, tmp_path)
    assert "64 KiB are free, and 2 loader processes need 192 KiB at least" in str(raised.value)


def test_where_there_is_no_such_file_system_nothing_is_checked(tmp_path: Path) -> None:
    check_shared_memory(8, tmp_path / "none")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's"
                     " workers are out of shared memory."),
        RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)"),
    ],
)  # fmt: skip
def test_what_torch_says_of_it_is_one_line(error: Exception) -> None:
    with pytest.raises(DataError, match=ADVICE), explain_loader_failures():
        raise error


@pytest.mark.parametrize(
    "error", [RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), BrokenPipeError(errno.EPIPE, "pipe")]
)
def test_a_missing_main_guard_is_named_where_processes_are_spawned(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with pytest.raises(type(error)), explain_loader_failures():  # with fork it is something else
        raise error
    monkeypatch.setattr(torch.multiprocessing, "get_start_method", lambda: "spawn")
    with (
        pytest.raises(RunError, match='put what it does under `if __name__ == "__main__":`'),
        explain_loader_failures(),
    ):
        raise error


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space", "/disk/file"), RuntimeError("size mismatch"), UserError("theirs")]
)
def test_other_errors_stay_what_they_are(error: Any) -> None:
    with pytest.raises(type(error)) as raised, explain_loader_failures():
        raise error
    assert raised.value is error
