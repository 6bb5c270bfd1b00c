"""Data loaders over labelled images."""

from __future__ import annotations

import functools
import gc
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from classifier_training.data.loading.batch_memory import BatchMemory
from classifier_training.data.loading.dataset import EvaluationDataset, ImageDataset, TrainDataset
from classifier_training.data.loading.failures import check_shared_memory
from classifier_training.data.loading.normalize import normalize_batch
from classifier_training.data.sampling.batches import EpochBatchSampler, SampledIndices
from classifier_training.data.sampling.evaluation import EvaluationShare
from classifier_training.run.cpus import decide_loader_processes
from classifier_training.run.surroundings import mark_loader_start
from classifier_training.types import ClassificationBatch, Preprocessing

_PREFETCH_FACTOR = 2
# While a process fills the batches that it is ahead, its last one may be in use and the one before just be replaced.
_NUM_SLOTS = _PREFETCH_FACTOR + 2
LEFT_TO_THE_MAIN_PROCESS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)


class BatchLoader(DataLoader[ClassificationBatch]):
    """A `DataLoader` whose processes write batches into memory that they share with the main process.

    Args:
        dataset: Gives whole batches as uint8.
        normalization: Makes batches float32 and normalised; None leaves them uint8, for the device to normalise.
        options: Of `DataLoader`.
    """

    def __init__(self, dataset: ImageDataset, *, normalization: Preprocessing | None = None, **options: Any) -> None:
        super().__init__(cast("Dataset[ClassificationBatch]", dataset), **options)
        self.normalization = normalization

    def __iter__(self) -> Iterator[ClassificationBatch]:  # type: ignore[override]  # what torch returns is private
        batches = self._batches()
        if self.normalization is None:
            return batches
        return map(functools.partial(normalize_batch, preprocessing=self.normalization), batches)

    def _batches(self) -> Iterator[ClassificationBatch]:
        return super().__iter__()

    def _get_iterator(self) -> Any:
        """Called by torch whenever it starts loader processes."""
        check_shared_memory(self.num_workers)
        mark_loader_start()
        dataset = cast("ImageDataset", self.dataset)
        dataset.memory = memory = self._new_memory()
        try:
            iterator: Any = super()._get_iterator()
        finally:
            dataset.memory = None
        iterator.batch_memory = memory  # lives as long as the processes that fill it
        return iterator

    def _new_memory(self) -> BatchMemory | None:
        """None where memory cannot be shared by forking, or there is too little of it."""
        batch_size = getattr(self.batch_sampler, "batch_size", None)
        context = self.multiprocessing_context or torch.multiprocessing
        if not self.num_workers or batch_size is None or context.get_start_method() != "fork":
            return None
        try:
            slot_bytes = cast("ImageDataset", self.dataset).batch_bytes(batch_size)
            return BatchMemory(self.num_workers, _NUM_SLOTS, slot_bytes)
        except (OSError, OverflowError):
            return None


class TrainLoader(BatchLoader):
    """A `BatchLoader` that prefetches across epochs.

    Its processes begin the next epoch while the last batches of one are in use, so they are not idle at the end of an
    epoch, and the next one starts with batches that are ready. What an epoch holds follows from its number. Where
    another epoch than the next one is asked for, or one was left early, the prefetched batches are discarded.

    Args:
        dataset: Gives whole batches as uint8.
        batches: The samples of each batch.
        num_epochs: Epochs of the training, after which nothing is prefetched; None: it is not known.
        options: Of `BatchLoader`.
    """

    def __init__(
        self, dataset: TrainDataset, batches: EpochBatchSampler, *, num_epochs: int | None = None, **options: Any
    ) -> None:
        super().__init__(dataset, batch_sampler=batches, **options)
        self._prefetched = _PrefetchedEpochs(batches, num_epochs)
        self._next_epoch: int | None = None
        self._given = _EpochBatches(iter(()), 0)

    @property
    def _index_sampler(self) -> Any:
        """What torch iterates over for the samples of each batch."""
        return self._prefetched if self.num_workers else self.batch_sampler

    def _batches(self) -> Iterator[ClassificationBatch]:
        if not self.num_workers:
            return super()._batches()
        batches = self._prefetched.batches
        epoch, start = batches.position
        is_next = start == 0 and epoch == self._next_epoch and self._prefetched.contains(epoch)
        if self._iterator is not None and self._given.num_left == 0 and is_next:
            iterator: Any = self._iterator
            batches.sampler.sample_epoch()  # begun now, as by a new iteration
        else:
            iterator = super()._batches()
        self._next_epoch = epoch + 1
        self._given = _EpochBatches(iterator, len(batches) - start)
        return self._given


class _PrefetchedEpochs:
    """The batches of an epoch and of those after it."""

    def __init__(self, batches: EpochBatchSampler, num_epochs: int | None) -> None:
        self.batches = batches
        self.num_epochs = num_epochs

    def contains(self, epoch: int) -> bool:
        """Whether the training has this epoch."""
        return self.num_epochs is None or epoch < self.num_epochs

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[SampledIndices]:
        return self.batches.across_epochs(self.num_epochs)


class _EpochBatches(Iterator[ClassificationBatch]):
    """One epoch, the next ``num_left`` batches, of an iterator that goes on after it."""

    def __init__(self, iterator: Iterator[ClassificationBatch], num_left: int) -> None:
        self._iterator = iterator
        self.num_left = num_left

    def __next__(self) -> ClassificationBatch:
        if not self.num_left:
            raise StopIteration
        self.num_left -= 1
        return next(self._iterator)


def train_loader(
    dataset: TrainDataset,
    batches: EpochBatchSampler,
    *,
    num_workers: int | None = None,
    num_epochs: int | None = None,
    normalization: Preprocessing | None = None,
) -> BatchLoader:
    """Batches to train on.

    Args:
        dataset: The images.
        batches: The samples of each batch.
        num_workers: Loader processes; None: by CPU count.
        num_epochs: Epochs of the training, see `TrainLoader`.
        normalization: Makes batches float32 and normalised; None leaves them uint8.
    """
    options = loader_options(num_workers)
    return TrainLoader(dataset, batches, num_epochs=num_epochs, normalization=normalization, **options)


def evaluation_loader(
    dataset: EvaluationDataset,
    batch_size: int,
    *,
    num_workers: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    as_float: bool = True,
) -> BatchLoader:
    """Batches to score on, in file order, every image exactly once over all ranks.

    Args:
        dataset: The images.
        batch_size: Images in a batch.
        num_workers: Loader processes; None: by CPU count.
        rank: This process.
        world_size: Number of processes.
        as_float: Whether batches are float32 and normalised, or uint8.
    """
    share = EvaluationShare(len(dataset), batch_size, rank, world_size)
    return BatchLoader(
        dataset,
        normalization=dataset.preprocessing if as_float else None,
        batch_size=share.batch_size,
        sampler=share,
        **loader_options(num_workers),
    )


def num_loader_processes(num_workers: int | None, num_ranks: int = 1) -> int:
    """How many loader processes to start, with a warning where there can be none.

    Args:
        num_workers: As configured; None: one for each CPU that may be used, shared among the ranks.
        num_ranks: Training processes on this machine.
    """
    loaders = decide_loader_processes(num_workers, num_ranks)
    if loaders.notice is not None:
        warnings.warn(loaders.notice, stacklevel=2)
    return loaders.count


def loader_options(num_workers: int | None) -> dict[str, Any]:
    """Options that all loaders share; without ``num_workers``, there is a process for each CPU that may be used."""
    workers = num_loader_processes(num_workers)
    return {
        "num_workers": workers,
        "prefetch_factor": _PREFETCH_FACTOR if workers else None,
        "collate_fn": _as_it_is,
        "worker_init_fn": start_worker if workers else None,
        "persistent_workers": workers > 0,
        "pin_memory": torch.cuda.is_available(),
    }


def _as_it_is(batch: ClassificationBatch) -> ClassificationBatch:
    """The datasets give whole batches."""
    return batch


def start_worker(worker: int) -> None:  # noqa: ARG001 - the loader's signature
    """Prepares a loader process."""
    gc.freeze()  # what was made so far lives as long as the process; looking for garbage in it takes time
    leave_signals_to_the_main_process()


def leave_signals_to_the_main_process() -> None:
    """Ignores what a terminal or a scheduler sends to every process of a job: the main one decides when to stop.

    A worker that is stuck still ends when its loader terminates it; one whose main process is gone, by torch's own
    watchdog. Only Linux reports who sent a signal: elsewhere such a worker is left to the operating system.
    """
    main_process = os.getppid()
    for number in LEFT_TO_THE_MAIN_PROCESS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        # a signal that is waited for must be blocked; the thread inherits that
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_terminated_by, args=(main_process,), daemon=True).start()


def _end_when_terminated_by(main_process: int) -> None:
    """Waits for the main process's own SIGTERM, with which a loader ends a worker that does not answer."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != main_process:
        pass
    os._exit(0)  # as torch ends a worker; the main process would report any other status as a failure
