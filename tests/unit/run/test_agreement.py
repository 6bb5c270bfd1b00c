"""Threads in the place of processes: they share one store, and each comes to its points at its own pace."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from torch._C._distributed_c10d import FileStore, Store

from classifier_training.errors import ClassifierTrainingError
from classifier_training.run import agreement as module
from classifier_training.run.agreement import Agreement, agree_with_all

WORLD_SIZE = 3


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FileStore(str(tmp_path / "store"), WORLD_SIZE)


def run_until_all_act(one: Agreement) -> int:
    while True:
        if number := one.reach():
            return number


@pytest.mark.parametrize("ahead", [0, 5, 1000])
def test_all_act_at_the_same_point_whoever_asks_and_wherever_the_others_are(store: Store, ahead: int) -> None:
    """Rank 0 is ahead of the others when rank 2 asks, and no rank comes to a point that rank 0 has not passed."""
    ranks = [Agreement(store, "test", rank, WORLD_SIZE) for rank in range(WORLD_SIZE)]
    for _ in range(ahead):
        assert ranks[0].reach() == 0

    def train(rank: int) -> list[tuple[int, int]]:
        acted: list[tuple[int, int]] = []
        point = ahead if rank == 0 else 0
        while len(acted) < 2:
            if rank == 2:
                ranks[rank].request(15 if not acted else 2)
            if number := ranks[rank].reach():
                acted.append((point, number))
            point += 1
        return acted

    with ThreadPoolExecutor(WORLD_SIZE) as threads:
        acted = list(threads.map(train, range(WORLD_SIZE)))
    for one in ranks:
        one.close()

    assert acted[0] == acted[1] == acted[2]
    assert [number for _, number in acted[0]] == [15, 2]
    assert acted[0][0][0] >= ahead


def test_of_two_requests_the_first_counts(store: Store) -> None:
    ranks = [Agreement(store, "test", rank, WORLD_SIZE) for rank in range(WORLD_SIZE)]
    ranks[0].request(10)
    ranks[1].request(15)

    with ThreadPoolExecutor(WORLD_SIZE) as threads:
        assert list(threads.map(run_until_all_act, ranks)) == [10] * WORLD_SIZE
    for one in ranks:
        one.close()


def test_processes_that_do_not_answer_are_told_of(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_SECONDS", 0.5)
    alone = Agreement(store, "test", 0, WORLD_SIZE)
    alone.request(15)
    with pytest.raises(ClassifierTrainingError, match="cannot agree where to stop or to save"):
        run_until_all_act(alone)
    alone.close()


def test_one_process_alone_has_nobody_to_agree_with() -> None:
    assert agree_with_all("test") is None
