"""Memory that is freed and used again, in a process of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from classifier_training.run.freed_memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(8_000_000)  # 64 MB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = [faults() for _ in range(3)][-1]
done = keep_freed_memory()
after = [faults() for _ in range(3)][-1]
print(done, before, after)
"""


def run_program(**variables: str) -> list[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "LD_PRELOAD"))}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(
    platform.system() != "Linux" or platform.libc_ver()[0] != "glibc", reason="another C library gives no such choice"
)
def test_a_large_block_is_used_again_without_page_faults() -> None:
    done, before, after = run_program()
    assert done == "True"
    assert int(before) > 10 * max(1, int(after))


def test_an_allocator_that_was_chosen_is_left_alone() -> None:
    assert run_program(MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"
