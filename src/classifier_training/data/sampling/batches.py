"""Batches of sampled indices: which images a training batch holds, and their positions in the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from classifier_training.data.sampling.sampler import EpochSampler
from classifier_training.errors import ConfigError


@dataclass(frozen=True, slots=True, eq=False)
class SampledIndices:
    """A part of an epoch; all randomness of an augmentation follows from ``(seed, epoch, position)``.

    Attributes:
        epoch: The epoch.
        positions: int64 (B,), where in the epoch each index comes, over all ranks.
        indices: int64 (B,), of the dataset.
    """

    epoch: int
    positions: NDArray[np.int64]
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)


class EpochBatchSampler(Sampler[SampledIndices]):
    """Cuts an epoch into batches, shares them among ranks, and seeks instead of replaying.

    Every rank samples the same list; batch b of rank r takes its share, so the sequence of indices over all ranks
    does not depend on how many ranks there are. A remainder that does not fill a batch on every rank is
    left out of the epoch, unless that would leave nothing.

    Args:
        sampler: Gives the epoch's order.
        batch_size: Images in one batch of one rank.
        rank: This process.
        world_size: Number of processes.

    Raises:
        ConfigError: There are fewer images than processes.
    """

    def __init__(self, sampler: EpochSampler, batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        if sampler.num_samples < world_size:
            raise ConfigError(
                f"{sampler.num_samples} training images cannot be shared among {world_size} processes; use fewer"
                " processes (trainer.devices, trainer.num_nodes)"
            )
        self.sampler = sampler
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self._resume: tuple[int, int] | None = None

    def seek(self, epoch: int, batch: int) -> None:
        """Lets the next iteration start at a batch of an epoch; later epochs start at 0."""
        self.sampler.set_epoch(epoch)
        self._resume = (epoch, batch)

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and batch that the next iteration starts at."""
        epoch = self.sampler.epoch
        return epoch, self._resume[1] if self._resume is not None and self._resume[0] == epoch else 0

    def sampled(self, epoch: int, num_batches: int | None = None, rank: int | None = None) -> SampledIndices:
        """What the first batches of an epoch hold, in the order of the epoch.

        Args:
            epoch: The epoch.
            num_batches: How many batches of each rank; None: all.
            rank: The rank whose share is wanted; None: all ranks.
        """
        batches = range(len(self))[:num_batches]
        return self._cut(self.sampler.indices(epoch), epoch, 0, batches.stop, rank)

    def __len__(self) -> int:
        return max(1, self.sampler.num_samples // (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[SampledIndices]:
        epoch, start = self.position
        order = self.sampler.sample_epoch()
        for batch in range(start, len(self)):
            yield self._cut(order, epoch, batch, batch + 1, self.rank)

    def across_epochs(self, num_epochs: int | None) -> Iterator[SampledIndices]:
        """What an iteration yields, then the epochs after it for prefetching; they do not count as begun.

        Args:
            num_epochs: Epochs of the training; None: there is no last one.
        """
        epoch, _ = self.position
        yield from self
        while num_epochs is None or epoch + 1 < num_epochs:
            epoch += 1
            order = self.sampler.prefetch_epoch(epoch)
            for batch in range(len(self)):
                yield self._cut(order, epoch, batch, batch + 1, self.rank)

    def _cut(self, order: NDArray[np.int64], epoch: int, start: int, stop: int, rank: int | None) -> SampledIndices:
        """The part of the epoch from batch ``start`` to before batch ``stop``."""
        global_size = self.batch_size * self.world_size
        first, step = (0, 1) if rank is None else (rank, self.world_size)
        positions = np.arange(start * global_size + first, min(stop * global_size, len(order)), step, dtype=np.int64)
        return SampledIndices(epoch, positions, order[positions])
