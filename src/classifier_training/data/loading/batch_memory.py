"""Memory that loader processes fill with batches and the main process reads, used again and again.

torch sends a tensor by making a file of shared memory for it. Every batch then costs both processes thousands of page
faults, and all batches together must fit into ``/dev/shm``, which is 64 MB in a container. Here the memory is mapped
once, before the processes are forked; a batch is sent by its number. When nothing in the main process holds its
tensors any more, the slot is free again. If none is free, a batch is sent as torch sends it.
"""

from __future__ import annotations

import itertools
import math
import mmap
import os
import weakref
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from classifier_training.types import ClassificationBatch

_PAGE = mmap.PAGESIZE
_numbers = itertools.count()
_memories: weakref.WeakValueDictionary[int, BatchMemory] = weakref.WeakValueDictionary()


class BatchMemory:
    """Slots for batches, some for every loader process.

    A slot has one flag. The loader process sets it when it begins to write, the process that made the memory clears
    it when the batch is gone, so nothing has to be locked.

    Args:
        num_workers: Loader processes.
        num_slots: Slots for each of them.
        slot_bytes: Size of the largest batch.

    Raises:
        OSError: There is not enough memory.
    """

    def __init__(self, num_workers: int, num_slots: int, slot_bytes: int) -> None:
        self.num_slots = num_slots
        self.slot_bytes = -(-slot_bytes // _PAGE) * _PAGE
        num_flags = num_workers * num_slots
        self._start = -(-num_flags // _PAGE) * _PAGE
        self._memory = mmap.mmap(-1, self._start + num_flags * self.slot_bytes)
        self._is_taken = np.frombuffer(self._memory, np.uint8, num_flags)
        self._owner = os.getpid()
        self.number = next(_numbers)
        _memories[self.number] = self

    @property
    def num_taken(self) -> int:
        """Slots that hold a batch."""
        return int(self._is_taken.sum())

    def take(self, worker: int) -> int | None:
        """A free slot of a loader process, now taken; None: all are taken."""
        for slot in range(worker * self.num_slots, (worker + 1) * self.num_slots):
            if not self._is_taken[slot]:
                self._is_taken[slot] = 1
                return slot
        return None

    def free(self, slot: int) -> None:
        """Gives a slot back."""
        self._is_taken[slot] = 0

    def pixels(self, slot: int, count: int, image_size: int) -> NDArray[np.uint8]:
        """uint8 (B, S, S, 3), the memory of a slot."""
        return self._flat(slot, count * image_size**2 * 3).reshape(count, image_size, image_size, 3)

    def lend(self, slot: int, count: int, image_size: int) -> NDArray[np.uint8]:
        """The memory of a slot, which is free again when the last reference to it is gone."""
        flat = self._flat(slot, count * image_size**2 * 3)
        weakref.finalize(flat, self._return, slot).atexit = False
        return flat.reshape(count, image_size, image_size, 3)

    def _flat(self, slot: int, size: int) -> NDArray[np.uint8]:
        return np.frombuffer(self._memory, np.uint8, size, self._start + slot * self.slot_bytes)

    def _return(self, slot: int) -> None:
        # a process that is forked meanwhile inherits the reference, but not the right to give the slot back
        if os.getpid() == self._owner:
            self.free(slot)


def make_batch(
    memory: BatchMemory | None,
    image_size: int,
    labels: NDArray[np.int64],
    indices: NDArray[np.int64],
    fill: Callable[[Tensor], Mapping[str, Any]],
    num_views: int = 1,
) -> ClassificationBatch:
    """Makes a batch, in a loader process in memory that need not be sent.

    Args:
        memory: Shared with the main process; None: no memory is shared.
        image_size: S.
        labels: int64 (B,).
        indices: int64 (B,).
        fill: Writes the pixels into uint8 (V B, S, S, 3); returns what else the batch has: small arrays, and
            plain values.
        num_views: V, squares of each image.

    Returns:
        Images uint8 (V B, 3, S, S), channels last.
    """
    worker, shape = get_worker_info(), (num_views * len(labels), image_size, image_size, 3)
    fits = memory is not None and math.prod(shape) <= memory.slot_bytes
    slot = memory.take(worker.id) if memory is not None and worker is not None and fits else None
    if memory is None or slot is None:
        pixels = torch.empty(shape, dtype=torch.uint8)
        others = fill(pixels)
    else:
        pixels = torch.from_numpy(memory.pixels(slot, *shape[:2]))
        try:
            others = fill(pixels)
        except BaseException:
            memory.free(slot)
            raise
    batch = _batch(pixels, labels, indices, others)
    return batch if worker is None else cast("ClassificationBatch", _SentBatch(batch, memory, slot))


class _SentBatch(dict[str, Any]):
    """A batch that pickles as the number of its slot; the rest travels as numpy arrays, which need no shared memory."""

    def __init__(self, batch: ClassificationBatch, memory: BatchMemory | None, slot: int | None) -> None:
        super().__init__(cast("dict[str, Any]", batch))
        self.memory = memory
        self.slot = slot

    def __reduce__(self) -> tuple[Any, ...]:
        plain = {name: value.numpy() if isinstance(value, Tensor) else value for name, value in self.items()
                 if name != "images"}  # fmt: skip
        images, labels, indices = self["images"], plain.pop("labels"), plain.pop("indices")
        if self.memory is None or self.slot is None:
            return _batch, (images.permute(0, 2, 3, 1), labels, indices, plain)
        shape = (len(images), images.shape[-1])
        return _received, (self.memory.number, self.slot, shape, labels, indices, plain)


def _received(
    number: int,
    slot: int,
    shape: tuple[int, int],
    labels: NDArray[np.int64],
    indices: NDArray[np.int64],
    others: Mapping[str, Any],
) -> ClassificationBatch:
    pixels = _memories[number].lend(slot, *shape)
    return _batch(torch.from_numpy(pixels), labels, indices, others)


def _batch(
    pixels: Tensor, labels: NDArray[np.int64], indices: NDArray[np.int64], others: Mapping[str, Any]
) -> ClassificationBatch:
    batch = ClassificationBatch(
        images=pixels.permute(0, 3, 1, 2), labels=torch.from_numpy(labels), indices=torch.from_numpy(indices)
    )
    for name, value in others.items():
        cast("dict[str, Any]", batch)[name] = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
    return batch
