"""Repeated augmentation: every image several times in a row, each time augmented in another way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.sampling.sampler import EpochSampler


class RepeatedSampler(EpochSampler):
    """What another sampler samples, each image ``num_repeats`` times in a row, in epochs of the same length.

    A batch then holds several augmentations of the same image, which lowers the variance of its gradients (Hoffer et
    al. 2020, https://arxiv.org/abs/1901.09335). An epoch goes on where the one before ended: what the other sampler
    samples in one epoch takes ``num_repeats`` epochs here, so no image is lost.

    Args:
        sampler: Samples single images.
        num_repeats: How often each of them comes, at least 1.
    """

    def __init__(self, sampler: EpochSampler, num_repeats: int) -> None:
        super().__init__(sampler.num_samples, sampler.seed)
        self.sampler = sampler
        self.num_repeats = num_repeats

    def _sample(self, epoch: int) -> NDArray[np.int64]:
        first = epoch % self.num_repeats * self.num_samples
        positions = np.arange(first, first + self.num_samples) // self.num_repeats
        return self.sampler.indices(epoch // self.num_repeats)[positions]
