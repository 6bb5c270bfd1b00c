"""In which order a training epoch draws its images: a pure function of the seed and the epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Sampler, WeightedRandomSampler

from classifier_training.seeding import mix_seed


class TrackingWeightedRandomSampler(WeightedRandomSampler):
    """torch's ``WeightedRandomSampler`` that is seeded per epoch and remembers what it drew.

    The draws of an epoch depend on the seed and the epoch alone, so a resumed run draws what the uninterrupted one
    would have drawn. Lightning calls `set_epoch`; without it every iteration is the next epoch. The first epoch
    draws exactly what torch's sampler draws with the same generator.

    On resume, Lightning starts a loader with workers before it calls `set_epoch`: call it yourself with
    ``self.trainer.current_epoch`` where ``train_dataloader`` makes the sampler, as `ImageFolderDataModule` does.

    Example:
        >>> sampler = TrackingWeightedRandomSampler([0.1, 0.9], 4, generator=torch.Generator().manual_seed(0))
        >>> drawn = list(sampler)
        >>> sum(sampler.counts_per_class([0, 1])) == len(drawn)
        True

    Args:
        weights: One for each sample, ≥ 0, not all 0; they need not add up to 1.
        num_samples: Draws in an epoch.
        replacement: Whether a sample may be drawn again within an epoch.
        generator: Its initial seed is the sampler's; None: torch's initial seed at this moment.
    """

    def __init__(
        self,
        weights: Sequence[float] | Tensor,
        num_samples: int,
        replacement: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        values = torch.as_tensor(weights, dtype=torch.float64)
        super().__init__(values, num_samples, replacement, generator)  # type: ignore[arg-type]  # a tensor is accepted
        self.seed = torch.initial_seed() if generator is None else generator.initial_seed()
        self.epoch = 0
        self._last_indices: list[int] = []

    @property
    def last_indices(self) -> list[int]:
        """The indices of the epoch that was drawn last, in order; empty before the first."""
        return list(self._last_indices)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that the next iteration draws."""
        self.epoch = epoch

    def counts_per_class(self, labels: Sequence[int] | Tensor, num_classes: int | None = None) -> list[int]:
        """How often each class was drawn in the last epoch.

        Args:
            labels: Class index of every sample that can be drawn, in [0, K).
            num_classes: K; None: the largest label + 1.
        """
        classes = torch.as_tensor(labels, dtype=torch.int64)
        size = num_classes if num_classes is not None else int(classes.max()) + 1
        drawn = classes[torch.tensor(self._last_indices, dtype=torch.int64)]
        return torch.bincount(drawn, minlength=size).tolist()

    def __iter__(self) -> Iterator[int]:
        # a generator, because a loader with workers calls iter() twice before its first epoch: nothing is drawn, and
        # no epoch counted, before the first index is asked for
        seed = self.seed if self.epoch == 0 else mix_seed(self.seed, self.epoch)
        generator = torch.Generator().manual_seed(seed)
        self._last_indices = torch.multinomial(
            self.weights, self.num_samples, self.replacement, generator=generator
        ).tolist()
        self.epoch += 1
        yield from self._last_indices


class ShuffleSampler(Sampler[int]):
    """Every index once, in an order that depends on the seed and the epoch alone.

    Args:
        num_samples: Number of indices.
        seed: The run's seed.
    """

    def __init__(self, num_samples: int, seed: int) -> None:
        self.num_samples = num_samples
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that the next iteration draws."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(mix_seed(self.seed, self.epoch))
        self.epoch += 1
        yield from torch.randperm(self.num_samples, generator=generator).tolist()


class Draw(NamedTuple):
    """One draw of an epoch; all randomness of its augmentation follows from ``(seed, epoch, number)``.

    Attributes:
        sample: Position in the dataset.
        epoch: The epoch.
        number: The how-manieth draw of the epoch it is, over all ranks.
    """

    sample: int
    epoch: int
    number: int


class DrawBatchSampler(Sampler[list[Draw]]):
    """Cuts an epoch's draws into batches, shares them among ranks, and seeks instead of replaying.

    Every rank draws the same list; batch b of rank r takes the draws of its share, so the sequence of draws over
    all ranks does not depend on how many ranks there are. A remainder that does not fill a batch on every rank is
    left out of the epoch, unless that would leave nothing.

    Args:
        sampler: Gives the epoch's order; has ``epoch`` and ``set_epoch``.
        batch_size: Draws in one batch of one rank.
        rank: This process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        sampler: TrackingWeightedRandomSampler | ShuffleSampler,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self._resume: tuple[int, int] | None = None

    def seek(self, epoch: int, batch: int) -> None:
        """Lets the next iteration start at a batch of an epoch; later epochs start at 0."""
        self.sampler.set_epoch(epoch)
        self._resume = (epoch, batch)

    def __len__(self) -> int:
        return max(1, len(self.sampler) // (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch = self.sampler.epoch
        indices = list(self.sampler)
        start = self._resume[1] if self._resume is not None and self._resume[0] == epoch else 0
        for number in range(start, len(self)):
            yield self._batch(indices, epoch, number)

    def _batch(self, indices: list[int], epoch: int, number: int) -> list[Draw]:
        global_size = self.batch_size * self.world_size
        first = number * global_size
        share = range(first + self.rank, min(first + global_size, len(indices)), self.world_size)
        return [Draw(indices[position], epoch, position) for position in share]
