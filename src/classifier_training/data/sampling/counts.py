"""What was sampled, counting exactly what the model has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lightning
import numpy as np
from numpy.typing import NDArray

from classifier_training.data.sampling.batches import EpochBatchSampler, SampledIndices


class SampleLog:
    """Counts the images of training epochs by class and by image, over all ranks.

    Nothing is recorded: samples follow from seed, epoch and position, so the number of batches that the model has
    seen determines what they held. Batches that a loader fetched in advance do not count, those before a resume do,
    and no process needs to ask another one.

    Example:
        >>> from classifier_training.data.sampling.batches import EpochBatchSampler
        >>> from classifier_training.data.sampling.sampler import ShuffleSampler
        >>> batches = EpochBatchSampler(ShuffleSampler(num_samples=9, seed=0), batch_size=4)
        >>> sample_log = SampleLog(batches, labels=[0] * 9, num_classes=1, num_batches=lambda epoch: len(batches))
        >>> sample_log.counts_per_class(epoch=0).tolist()
        [8]

    Args:
        batches: Cuts the epochs into batches, on any rank.
        labels: N class indices in [0, K).
        num_classes: K.
        num_batches: How many batches of an epoch the model has seen on each rank.
    """

    def __init__(
        self,
        batches: EpochBatchSampler,
        labels: Sequence[int] | NDArray[np.integer],
        num_classes: int,
        num_batches: Callable[[int], int],
    ) -> None:
        self._batches = batches
        self._labels = np.asarray(labels)
        self._num_classes = num_classes
        self._num_batches = num_batches

    def seen(self, epoch: int) -> SampledIndices:
        """The part of an epoch that the model has seen, in the order of the epoch."""
        return self._batches.sampled(epoch, self._num_batches(epoch))

    def counts_per_class(self, epoch: int) -> NDArray[np.int64]:
        """How often the model has seen each class in an epoch: int64 (K,)."""
        return np.bincount(self._labels[self.seen(epoch).indices], minlength=self._num_classes)

    def counts_per_sample(self, epoch: int) -> NDArray[np.int64]:
        """How often the model has seen each training image in an epoch: int64 (N,), in the dataset's order."""
        return np.bincount(self.seen(epoch).indices, minlength=len(self._labels))


def batches_seen(trainer: lightning.Trainer, epoch: int, num_batches: int) -> int:
    """How many batches of an epoch the model has seen on each rank; all of them, if it is in a later one now.

    Args:
        trainer: Trains the model, has trained it, or has resumed from a checkpoint.
        epoch: The epoch.
        num_batches: Batches of a whole epoch; the Trainer's ``limit_train_batches`` may allow fewer.
    """
    loop = trainer.fit_loop
    # annotated too narrowly by Lightning: they also count what was started and processed
    epochs: Any = loop.epoch_progress.current
    batches: Any = loop.epoch_loop.batch_progress.current
    current = epochs.started - 1
    if epoch == current:
        return min(int(batches.started), int(batches.processed))  # a batch that a callback skips is not started
    return int(min(num_batches, loop.max_batches)) if epoch < current else 0
