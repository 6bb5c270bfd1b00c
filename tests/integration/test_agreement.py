"""Processes of a training that end as soon as they have acted."""

from __future__ import annotations

import os
from pathlib import Path

from tests.helpers.cli import WarmProgram
from tests.helpers.ranks import run_ranks
from torch._C._distributed_c10d import TCPStore

from classifier_training.run import agreement
from classifier_training.run.agreement import Agreement


def act_and_end(folder: Path, world_size: int) -> int:
    """What was asked for; the process that has the store answers last, and the others look seldom for answers."""
    rank = int(os.environ["LOCAL_RANK"])
    store = TCPStore("127.0.0.1", int(os.environ["MASTER_PORT"]), world_size, rank == 0)
    agreement.SECONDS_BETWEEN_LOOKS = 0.5 if rank else 0.8  # type: ignore[misc]  # slow, as on a busy machine
    one = Agreement(store, "test", rank, world_size)
    if rank == 0:
        one.request(15)
    while True:
        if number := one.reach():
            return number


def test_the_process_that_has_the_store_may_end_first(program: WarmProgram, tmp_path: Path) -> None:
    assert run_ranks(program, act_and_end, 3, tmp_path / "ranks") == [15] * 3
