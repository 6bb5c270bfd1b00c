"""The order in which a training epoch samples its images: a pure function of the seed and the epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DistributedSampler, WeightedRandomSampler

from classifier_training.data.sampling.weighted import (
    check_weights,
    sample_with_replacement,
    sample_without_replacement,
)
from classifier_training.errors import ConfigError
from classifier_training.seeding import mix_seed

_INTS_AT_ONCE = 1 << 16


class EpochSampler(DistributedSampler[int], ABC):
    """Samples a whole epoch by its number alone, and yields this process's share of it.

    Every process samples the same list and takes every W-th index, W being the number of processes; what does not fill
    a round of all of them is left out, so nothing is yielded twice. It is a `DistributedSampler`, because Lightning
    and others replace every other sampler by one of theirs as soon as there are several processes.

    Args:
        num_samples: Samples in an epoch, over all processes.
        seed: Decides all samples; must be the same on all processes.
        rank: This process; None: asked of ``torch.distributed`` when the share is taken.
        world_size: Number of processes W; None: asked too.

    Raises:
        ConfigError: One of ``rank`` and ``world_size`` is given without the other, or they do not fit.
    """

    def __init__(self, num_samples: int, seed: int, rank: int | None = None, world_size: int | None = None) -> None:
        # not DistributedSampler's own, which asks for a dataset, and for processes that may not be connected yet
        if (rank is None) != (world_size is None) or not 0 <= (rank or 0) < (world_size or 1):
            raise ConfigError(
                f"{type(self).__name__}: rank={rank}, world_size={world_size}; give 0 ≤ rank < world_size, or neither"
            )
        self.num_samples = num_samples
        self.seed = seed
        self.epoch = 0
        self._given_share = None if rank is None or world_size is None else (rank, world_size)
        self._sampled_epoch: int | None = None
        self._sampled = np.empty(0, np.int64)
        self._prefetched: tuple[int, NDArray[np.int64]] | None = None

    @property
    def rank(self) -> int:  # type: ignore[override]  # torch's is set when its sampler is made
        """This process."""
        return self._share()[0]

    @property
    def num_replicas(self) -> int:  # type: ignore[override]  # as above
        """Number of processes, by torch's name for it."""
        return self._share()[1]

    @abstractmethod
    def _sample(self, epoch: int) -> NDArray[np.int64]:
        """Samples an epoch, int64 (num_samples,)."""

    def indices(self, epoch: int) -> NDArray[np.int64]:
        """The indices of an epoch over all processes, in order: int64 (num_samples,), not to be written to."""
        return self._sampled if epoch == self._sampled_epoch else self._sample(epoch)

    def sample_epoch(self) -> NDArray[np.int64]:
        """Samples the chosen epoch, remembers it, and chooses the next one.

        Returns:
            int64 (num_samples,), not to be written to.
        """
        # freed before the next one takes as much memory
        self._sampled_epoch, self._sampled = None, np.empty(0, np.int64)
        if self._prefetched is not None and self._prefetched[0] == self.epoch:
            sampled = self._prefetched[1]
        else:
            sampled = self._sample(self.epoch)
        self._prefetched = None
        sampled.flags.writeable = False
        self._sampled_epoch, self._sampled = self.epoch, sampled
        self.epoch += 1
        return sampled

    def prefetch_epoch(self, epoch: int) -> NDArray[np.int64]:
        """Samples a later epoch, and keeps it until `sample_epoch` takes it or samples another."""
        sampled = self._sample(epoch)
        sampled.flags.writeable = False
        self._prefetched = (epoch, sampled)
        return sampled

    def __len__(self) -> int:
        return self.num_samples // self.num_replicas

    def __iter__(self) -> Iterator[int]:
        # a generator, because a loader with workers calls iter() twice before its first epoch: nothing is sampled, and
        # no epoch counted, before the first index is asked for
        rank, world_size = self._share()
        share = self.sample_epoch()[: len(self) * world_size][rank::world_size]
        for start in range(0, len(share), _INTS_AT_ONCE):
            yield from share[start : start + _INTS_AT_ONCE].tolist()

    def _share(self) -> tuple[int, int]:
        if self._given_share is not None:
            share = self._given_share
        elif torch.distributed.is_available() and torch.distributed.is_initialized():
            share = (torch.distributed.get_rank(), torch.distributed.get_world_size())
        else:
            share = (0, 1)
        if self.num_samples < share[1]:
            raise ConfigError(
                f"{type(self).__name__}: num_samples={self.num_samples} cannot be shared among {share[1]} processes;"
                " sample at least one for each"
            )
        return share


class TrackingWeightedRandomSampler(EpochSampler, WeightedRandomSampler):
    """torch's ``WeightedRandomSampler`` for any number of samples and processes, seeded per epoch, with a memory.

    The samples of an epoch depend on the seed and the epoch alone, so a resumed run samples what the uninterrupted
    one would have sampled. Lightning calls `set_epoch`; without it every iteration is the next epoch. The first epoch
    is exactly what torch's sampler gives with the same generator. Where torch ends, at 2²⁴ samples, this one continues
    in the same way; and an index of weight 0 is never sampled, which torch may do once in 2⁵³ times.

    With several processes (DDP) each one yields its share of the same list, and ``num_samples`` counts the samples of
    all of them. Lightning leaves the sampler as it is. Seed all processes alike: pass a generator, or call
    ``lightning.seed_everything``. Give ``rank=0, world_size=1`` where something else shares what is sampled.

    On resume, Lightning starts a loader with workers before it calls `set_epoch`: call it yourself with
    ``self.trainer.current_epoch`` where ``train_dataloader`` makes the sampler, as `ImageFolderDataModule` does.

    Example:
        >>> sampler = TrackingWeightedRandomSampler([0.1, 0.9], 4, generator=torch.Generator().manual_seed(0))
        >>> indices = list(sampler)
        >>> sum(sampler.counts_per_class([0, 1])) == len(indices)
        True

    Args:
        weights: One for each sample, ≥ 0, not all 0; they need not add up to 1.
        num_samples: Samples in an epoch, over all processes.
        replacement: Whether an index may come again within an epoch.
        generator: Its initial seed is the sampler's; None: torch's initial seed at this moment.
        rank: This process; None: asked of ``torch.distributed`` when an epoch begins.
        world_size: Number of processes; None: asked too.

    Raises:
        ConfigError: A weight is negative or not finite, all are 0, or too few are above 0 to sample without
            replacement.
        ValueError: As torch's sampler raises it for the other arguments.
    """

    def __init__(
        self,
        weights: Sequence[float] | NDArray[np.floating] | Tensor,
        num_samples: int,
        replacement: bool = True,
        generator: torch.Generator | None = None,
        *,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        values = torch.as_tensor(weights, dtype=torch.float64, device="cpu")
        WeightedRandomSampler.__init__(self, values, num_samples, replacement, generator)  # type: ignore[arg-type]  # a tensor is accepted
        check_weights(values.numpy(), None if replacement else num_samples)
        seed = torch.initial_seed() if generator is None else generator.initial_seed()
        EpochSampler.__init__(self, num_samples, seed, rank, world_size)

    @property
    def last_indices(self) -> list[int]:
        """The indices of the epoch that was sampled last, over all processes, in order; empty before the first."""
        return self._sampled.tolist()

    @property
    def _last_indices(self) -> list[int]:
        """The name that callbacks written for other samplers use."""
        return self.last_indices

    def counts_per_class(
        self, labels: Sequence[int] | NDArray[np.integer] | Tensor, num_classes: int | None = None
    ) -> list[int]:
        """How often each class was sampled in the last epoch, over all processes.

        Args:
            labels: Class index of every sample, in [0, K).
            num_classes: K; None: the largest label + 1.
        """
        classes = np.asarray(labels, dtype=np.int64)
        size = int(classes.max()) + 1 if num_classes is None else num_classes
        counts: list[int] = np.bincount(classes[self._sampled], minlength=size).tolist()
        return counts

    def _sample(self, epoch: int) -> NDArray[np.int64]:
        seed = self.seed if epoch == 0 else mix_seed(self.seed, epoch)
        generator = torch.Generator().manual_seed(seed)
        # a single sample goes torch's way without replacement too
        is_repeatable = self.replacement and self.num_samples > 1
        sample = sample_with_replacement if is_repeatable else sample_without_replacement
        return sample(self.weights.numpy(), self.num_samples, generator)


class ShuffleSampler(EpochSampler):
    """Every index once, in an order that depends on the seed and the epoch alone."""

    def _sample(self, epoch: int) -> NDArray[np.int64]:
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch))
        return torch.randperm(self.num_samples, generator=generator).numpy()
