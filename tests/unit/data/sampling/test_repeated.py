from __future__ import annotations

import numpy as np
import pytest
import torch

from classifier_training.data.sampling.batches import EpochBatchSampler
from classifier_training.data.sampling.counts import SampleLog
from classifier_training.data.sampling.repeated import RepeatedSampler
from classifier_training.data.sampling.sampler import ShuffleSampler, TrackingWeightedRandomSampler


def make_sampler(num_samples: int = 10, num_repeats: int = 3, seed: int = 0) -> RepeatedSampler:
    return RepeatedSampler(ShuffleSampler(num_samples, seed), num_repeats)


@pytest.mark.parametrize(("num_samples", "num_repeats"), [(10, 1), (10, 3), (9, 3), (4, 7), (1, 2)])
def test_over_as_many_epochs_as_repeats_every_image_comes_equally_often(num_samples: int, num_repeats: int) -> None:
    sampler = make_sampler(num_samples, num_repeats)
    epochs = np.array([sampler.indices(epoch) for epoch in range(num_repeats)])

    assert epochs.shape == (num_repeats, num_samples)
    assert np.bincount(epochs.ravel()).tolist() == [num_repeats] * num_samples
    runs = epochs.ravel().reshape(num_samples, num_repeats)
    assert (runs == runs[:, :1]).all(), "in a row"
    assert not np.array_equal(sampler.indices(num_repeats), epochs[0]) or num_samples == 1


def test_one_repeat_is_the_sampler_itself() -> None:
    for epoch in range(3):
        np.testing.assert_array_equal(make_sampler(num_repeats=1).indices(epoch), ShuffleSampler(10, 0).indices(epoch))


def test_samples_by_weight_are_repeated_too() -> None:
    weights = torch.tensor([0.0, 1.0, 3.0] * 40)
    single = TrackingWeightedRandomSampler(weights, 120, generator=torch.Generator().manual_seed(0))
    sampler = RepeatedSampler(single, 2)

    both = np.concatenate([sampler.indices(0), sampler.indices(1)])

    np.testing.assert_array_equal(both, np.repeat(single.indices(0), 2))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_processes_share_one_sequence_and_the_log_counts_it(world_size: int) -> None:
    ranks = [EpochBatchSampler(make_sampler(24), 2, rank=rank, world_size=world_size) for rank in range(world_size)]
    for epoch in range(3):
        steps = list(zip(*ranks, strict=True))
        seen = np.concatenate([np.stack([one.indices for one in step], 1).ravel() for step in steps])
        np.testing.assert_array_equal(seen, make_sampler(24).indices(epoch))
        log = SampleLog(ranks[0], np.arange(24) % 2, 2, lambda _: len(ranks[0]))
        assert log.counts_per_sample(epoch).tolist() == np.bincount(seen, minlength=24).tolist()
        assert log.counts_per_class(epoch).tolist() == np.bincount(seen % 2, minlength=2).tolist()
