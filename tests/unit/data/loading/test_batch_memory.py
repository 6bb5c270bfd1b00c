from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from classifier_training.data.loading.batch_memory import BatchMemory, make_batch

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are forked")


def make_memory(num_workers: int = 2, num_slots: int = 3) -> BatchMemory:
    return BatchMemory(num_workers, num_slots, 2 * 4 * 4 * 3)


def test_every_worker_has_slots_of_its_own_until_they_are_taken() -> None:
    memory = make_memory()

    assert [memory.take(1) for _ in range(4)] == [3, 4, 5, None]
    assert [memory.take(0) for _ in range(4)] == [0, 1, 2, None]
    assert memory.num_taken == 6

    memory.free(4)
    assert memory.take(0) is None
    assert memory.take(1) == 4


def test_slots_do_not_overlap() -> None:
    memory = make_memory()
    for slot in range(6):
        memory.pixels(slot, 2, 4)[:] = slot + 1

    assert [set(memory.pixels(slot, 2, 4).ravel().tolist()) for slot in range(6)] == [{slot + 1} for slot in range(6)]
    assert memory.pixels(0, 1, 4).shape == (1, 4, 4, 3)
    assert memory.num_taken == 0


def test_a_lent_slot_is_free_when_nothing_refers_to_it_any_more() -> None:
    memory = make_memory()
    slot = memory.take(0)
    assert slot is not None
    lent: Tensor | None = torch.from_numpy(memory.lend(slot, 2, 4))
    assert lent is not None
    part = lent.permute(0, 3, 1, 2)[1:, :, 2:]

    lent = None
    assert memory.num_taken == 1
    array = part.numpy()
    del part
    assert memory.num_taken == 1
    del array
    assert memory.num_taken == 0


def test_a_lent_slot_outlives_the_memory() -> None:
    memory = make_memory()
    lent = memory.lend(0, 2, 4)
    lent[:] = 7

    del memory

    assert (lent == 7).all()


@needs_fork
def test_a_forked_process_cannot_free_what_its_parent_uses() -> None:
    memory = make_memory()
    slot = memory.take(0)
    assert slot is not None
    lent = memory.lend(slot, 2, 4)

    child = os.fork()
    if child == 0:
        del lent
        os._exit(memory.num_taken)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 1
    assert memory.num_taken == 1
    del lent
    assert memory.num_taken == 0


@needs_fork
def test_what_a_forked_process_writes_is_here() -> None:
    memory = make_memory()

    child = os.fork()
    if child == 0:
        slot = memory.take(1)
        memory.pixels(3, 2, 4)[:] = 200
        os._exit(slot or 0)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 3
    assert (memory.pixels(3, 2, 4) == 200).all()
    assert memory.num_taken == 1


def test_in_the_main_process_a_batch_has_memory_of_its_own() -> None:
    memory, labels = make_memory(), np.array([5, 6], np.int64)
    maps = np.ones((2, 3, 4), np.float32)

    def fill(pixels: Tensor) -> dict[str, NDArray[np.float32]]:
        pixels.copy_(torch.arange(3))
        return {"colour_maps": maps}

    batch = make_batch(memory, 4, labels, labels + 1, fill)

    assert memory.num_taken == 0
    assert type(batch) is dict
    assert (batch["images"].shape, batch["images"].dtype) == ((2, 3, 4, 4), torch.uint8)
    assert batch["images"].is_contiguous(memory_format=torch.channels_last)
    assert batch["images"][1, :, 2, 3].tolist() == [0, 1, 2]
    assert batch["labels"].tolist() == [5, 6]
    assert batch["indices"].tolist() == [6, 7]
    assert torch.equal(batch["colour_maps"], torch.from_numpy(maps))
    assert pickle.loads(pickle.dumps(batch))["labels"].tolist() == [5, 6]  # noqa: S301 - our own bytes


def test_more_memory_than_available() -> None:
    with pytest.raises((OSError, OverflowError)):
        BatchMemory(1, 1, 2**62)
