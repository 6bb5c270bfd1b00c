"""The program of a further device, before it has its job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from classifier_training.training.join import _RANK_PROGRAM


def ignores_interrupts(process: subprocess.Popen[str]) -> bool:
    """Whether Ctrl-C has no effect on a process, by the kernel's word."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(mask, 16) >> (signal.SIGINT - 1) & 1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the signals of a process from /proc")
def test_ctrl_c_and_a_lost_first_process_are_told_by_nobody_else() -> None:
    with subprocess.Popen(
        [sys.executable, *_RANK_PROGRAM],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        while process.poll() is None and not ignores_interrupts(process):
            os.sched_yield()
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate()  # which closes its standard input without a job
    assert (process.returncode, told) == (1, "")
