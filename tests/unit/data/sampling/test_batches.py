from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from classifier_training.data.sampling.batches import EpochBatchSampler, SampledIndices
from classifier_training.data.sampling.sampler import EpochSampler, ShuffleSampler, TrackingWeightedRandomSampler
from classifier_training.errors import ConfigError

WEIGHTS = [0.1, 0.5, 0.0, 2.0, 3.0, 1.0, 0.4, 0.2]
KINDS = pytest.mark.parametrize("kind", ["weighted", "shuffle"])

Plain = tuple[int, list[int], list[int]]


def make_sampler(kind: str, num_samples: int = 53) -> EpochSampler:
    if kind == "shuffle":
        return ShuffleSampler(num_samples, seed=0)
    return TrackingWeightedRandomSampler(WEIGHTS, num_samples, generator=torch.Generator().manual_seed(0))


def plain(batch: SampledIndices) -> Plain:
    """Values that can be compared."""
    return batch.epoch, batch.positions.tolist(), batch.indices.tolist()


@KINDS
def test_batches_are_the_samplers_order_numbered(kind: str) -> None:
    batches = EpochBatchSampler(make_sampler(kind), 8)
    reference = make_sampler(kind)
    order = [list(reference) for _ in range(2)]

    for epoch in range(2):
        found = list(batches)
        assert len(found) == len(batches) == 6
        for number, batch in enumerate(found):
            part = slice(8 * number, 8 * number + 8)
            assert plain(batch) == (epoch, list(range(48))[part], order[epoch][part])
            assert len(batch) == 8
            assert batch.positions.dtype == batch.indices.dtype == np.int64


@KINDS
@pytest.mark.parametrize("epoch", [0, 3])
@pytest.mark.parametrize("world_size", [2, 4])
def test_the_sequence_does_not_depend_on_the_number_of_ranks(kind: str, epoch: int, world_size: int) -> None:
    alone = EpochBatchSampler(make_sampler(kind), 8)
    alone.seek(epoch, 0)
    ranks = [
        EpochBatchSampler(make_sampler(kind), 8 // world_size, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    for rank in ranks:
        rank.seek(epoch, 0)

    for whole, *shares in zip(alone, *ranks, strict=True):
        assert {len(share) for share in shares} == {8 // world_size}
        # the first index of each rank, then the second of each
        assert np.stack([share.positions for share in shares], axis=1).ravel().tolist() == whole.positions.tolist()
        assert np.stack([share.indices for share in shares], axis=1).ravel().tolist() == whole.indices.tolist()


@KINDS
@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("batch", [0, 1, 4, 12, 13])
def test_seeking_gives_exactly_the_tail_and_then_whole_epochs(kind: str, world_size: int, batch: int) -> None:
    def make() -> EpochBatchSampler:
        return EpochBatchSampler(make_sampler(kind), 4 // world_size, rank=world_size - 1, world_size=world_size)

    whole = make()
    epochs = [list(map(plain, whole)) for _ in range(4)]
    sought = make()
    sought.seek(2, batch)

    assert len(sought) == 13
    assert list(map(plain, sought)) == epochs[2][batch:]
    assert list(map(plain, sought)) == epochs[3]
    sought.seek(1, 0)
    assert list(map(plain, sought)) == epochs[1]


def test_seeking_is_not_undone_when_lightning_sets_the_same_epoch() -> None:
    sought = EpochBatchSampler(ShuffleSampler(20, seed=0), 4)
    whole = list(map(plain, sought))

    sought.seek(0, 3)
    sought.sampler.set_epoch(0)

    assert list(map(plain, sought)) == whole[3:]


@KINDS
@pytest.mark.parametrize("world_size", [1, 2])
def test_the_epochs_that_follow_do_not_count_as_begun(kind: str, world_size: int) -> None:
    whole, onward = (EpochBatchSampler(make_sampler(kind), 8, rank=world_size - 1, world_size=world_size) for _ in "ab")
    epochs = [list(map(plain, whole)) for _ in range(4)]
    onward.seek(1, 2)

    found = list(map(plain, onward.across_epochs(num_epochs=4)))

    assert found == [*epochs[1][2:], *epochs[2], *epochs[3]]
    assert onward.position == (2, 0)
    assert list(map(plain, onward)) == epochs[2]
    assert list(map(plain, itertools.islice(onward.across_epochs(None), 2 * len(onward)))) == epochs[3] + list(
        map(plain, whole)
    )


@KINDS
def test_what_was_sampled_ahead_is_used_for_its_epoch_only(kind: str) -> None:
    sampler, reference = make_sampler(kind), make_sampler(kind)
    epochs = [list(reference) for _ in range(3)]

    assert sampler.prefetch_epoch(2).tolist() == epochs[2]

    assert [list(sampler) for _ in range(3)] == epochs
    ahead = sampler.prefetch_epoch(3)
    assert sampler.indices(2).tolist() == epochs[2]
    assert sampler.sample_epoch() is ahead


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "world_size", "sizes"),
    [(8, 4, 1, [4, 4]), (9, 4, 1, [4, 4]), (3, 4, 1, [3]), (8, 4, 2, [4]), (7, 4, 2, [4]), (1, 1, 1, [1])],
)
def test_a_remainder_is_left_out_unless_there_is_nothing_else(
    num_samples: int, batch_size: int, world_size: int, sizes: list[int]
) -> None:
    sampler = EpochBatchSampler(ShuffleSampler(num_samples, 0), batch_size, world_size=world_size)

    assert [len(batch) for batch in sampler] == sizes
    assert len(sampler) == len(sizes)


def test_fewer_images_than_ranks_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^2 training images cannot be shared among 3 processes; use fewer"):
        EpochBatchSampler(ShuffleSampler(2, 0), 4, world_size=3)


def test_samples_travel_to_a_worker() -> None:
    (batch, *_) = EpochBatchSampler(ShuffleSampler(9, 0), 4)

    copy = pickle.loads(pickle.dumps(batch))  # noqa: S301 - our own bytes

    assert plain(copy) == plain(batch)
    assert batch.indices.flags.writeable
    assert len(pickle.dumps(batch)) < 1000, "only the batch travels, not the epoch that it was cut from"


# -- what was sampled ----------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("num_batches", [0, 1, 3, 6, None, 99])
@pytest.mark.parametrize("iterated", [True, False])
def test_what_was_sampled_is_what_the_batches_held(
    kind: str, world_size: int, num_batches: int | None, iterated: bool
) -> None:
    def make(rank: int) -> EpochBatchSampler:
        batches = EpochBatchSampler(make_sampler(kind), 8 // world_size, rank=rank, world_size=world_size)
        batches.seek(2, 0)
        return batches

    ranks = [list(make(rank))[:num_batches] for rank in range(world_size)]
    asked: Any = make(0)
    if iterated:
        list(asked)

    for rank, batches in enumerate(ranks):
        samples = list(itertools.chain(*(batch.indices.tolist() for batch in batches)))
        assert asked.sampled(2, num_batches, rank).indices.tolist() == samples
    sampled = asked.sampled(2, num_batches)
    everything = sorted(itertools.chain(*(batch.indices.tolist() for batch in itertools.chain(*ranks))))
    assert sorted(sampled.indices.tolist()) == everything
    assert sampled.positions.tolist() == list(range(len(everything)))
    assert sampled.epoch == 2


def test_a_single_short_batch_was_sampled_whole() -> None:
    batches = EpochBatchSampler(ShuffleSampler(3, 0), 4)

    assert plain(batches.sampled(0)) == plain(next(iter(batches)))
    assert sorted(batches.sampled(0).indices.tolist()) == [0, 1, 2]


@KINDS
@pytest.mark.parametrize(("batch_size", "world_size"), [(6, 1), (3, 2), (2, 3), (1, 6)])
def test_a_step_has_the_same_images_on_any_devices_that_take_as_many_together(
    kind: str, batch_size: int, world_size: int
) -> None:
    """Also from within an epoch: on this a run relies that is resumed on other devices."""
    alone = EpochBatchSampler(make_sampler(kind), 6)
    alone.seek(1, 3)
    ranks = [
        EpochBatchSampler(make_sampler(kind), batch_size, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    for rank in ranks:
        rank.seek(1, 3)
    shares = list(zip(*ranks, strict=True))
    steps = list(alone)
    assert len(shares) == len(steps) == 5
    for step, parts in zip(steps, shares, strict=True):
        pairs = sorted(pair for part in parts for pair in zip(part.positions, part.indices, strict=True))
        assert pairs == sorted(zip(step.positions, step.indices, strict=True))
