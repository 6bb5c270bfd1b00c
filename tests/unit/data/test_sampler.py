from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tests.helpers.training import LIGHTNING_NOTICES, make_trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from classifier_training.data.sampler import Draw, DrawBatchSampler, ShuffleSampler, TrackingWeightedRandomSampler

WEIGHTS = [0.1, 0.5, 0.0, 2.0, 3.0, 1.0, 0.4, 0.2]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tracking(num_samples: int = 20, seed: int = 0, **options: Any) -> TrackingWeightedRandomSampler:
    return TrackingWeightedRandomSampler(WEIGHTS, num_samples, generator=generator(seed), **options)


def drawn_in(epoch: int, **options: Any) -> list[int]:
    sampler = tracking(**options)
    sampler.set_epoch(epoch)
    return list(sampler)


# -- the weighted sampler ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 12345, 2**63 - 1, -1])
@pytest.mark.parametrize("as_tensor", [True, False])
def test_the_first_epoch_is_what_torch_draws(seed: int, replacement: bool, as_tensor: bool) -> None:
    weights: Any = torch.tensor(WEIGHTS, dtype=torch.float64) if as_tensor else WEIGHTS
    sampler = TrackingWeightedRandomSampler(weights, 6, replacement, generator(seed))
    reference = WeightedRandomSampler(WEIGHTS, 6, replacement, generator(seed))

    assert isinstance(sampler, WeightedRandomSampler)
    assert list(sampler) == list(reference)
    assert len(sampler) == len(reference) == 6


def test_without_a_generator_it_follows_torchs_seed() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = list(WeightedRandomSampler(WEIGHTS, 20))
        torch.manual_seed(3)
        sampler = TrackingWeightedRandomSampler(WEIGHTS, 20)
        torch.rand(5)

        assert list(sampler) == expected


@pytest.mark.parametrize("seed", [0, -1])
def test_every_epoch_draws_anew_and_by_its_number_alone(seed: int) -> None:
    sampler = tracking(seed=seed)
    epochs = [list(sampler) for _ in range(4)]

    assert all(one != other for one, other in itertools.combinations(epochs, 2))
    assert epochs == [drawn_in(epoch, seed=seed) for epoch in range(4)]
    sampler.set_epoch(2)
    assert [list(sampler), list(sampler)] == epochs[2:]
    assert drawn_in(1, seed=7) != drawn_in(1, seed=8)


def test_drawing_neither_needs_nor_touches_the_global_generator() -> None:
    expected = drawn_in(3)
    state = torch.get_rng_state()

    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert drawn_in(3) == expected
    drawn_in(3)

    assert torch.equal(torch.get_rng_state(), state)


def test_it_remembers_what_it_drew() -> None:
    sampler = tracking()
    assert sampler.last_indices == sampler._last_indices == []

    first = list(sampler)
    assert sampler._last_indices == sampler.last_indices == first
    second = list(sampler)
    assert sampler._last_indices == sampler.last_indices == second != first

    sampler.last_indices.clear()
    assert sampler.last_indices == second


def test_counts_per_class() -> None:
    sampler = tracking(1000)
    labels = [0, 0, 0, 1, 1, 1, 3, 3]
    assert sampler.counts_per_class(labels) == [0, 0, 0, 0]

    drawn = list(sampler)

    expected = [sum(labels[index] == label for index in drawn) for label in range(4)]
    assert sampler.counts_per_class(labels) == sampler.counts_per_class(torch.tensor(labels)) == expected
    assert sampler.counts_per_class(labels, num_classes=6) == [*expected, 0, 0]
    assert expected[2] == 0
    assert 2 not in drawn


def test_frequencies_follow_the_weights() -> None:
    num_samples = 20_000
    drawn = torch.bincount(torch.tensor(list(tracking(num_samples))), minlength=len(WEIGHTS))

    shares = torch.tensor(WEIGHTS) / sum(WEIGHTS)
    deviation = (num_samples * shares * (1 - shares)).sqrt()
    assert ((drawn - num_samples * shares).abs() <= 5 * deviation).all()


def test_without_replacement_nothing_is_drawn_twice() -> None:
    for epoch in range(5):
        assert sorted(drawn_in(epoch, num_samples=7, replacement=False)) == [0, 1, 3, 4, 5, 6, 7]


def test_bad_arguments_are_refused_as_by_torch() -> None:
    with pytest.raises(ValueError, match="num_samples"):
        TrackingWeightedRandomSampler(WEIGHTS, 0)
    with pytest.raises(ValueError, match="1d"):
        TrackingWeightedRandomSampler(torch.ones(2, 2), 4)


def test_it_survives_the_trip_to_another_process() -> None:
    sampler = tracking()
    list(sampler)

    copy = pickle.loads(pickle.dumps(sampler))  # noqa: S301 - our own bytes

    assert copy.last_indices == sampler.last_indices
    assert list(copy) == list(sampler)


# -- in anybody's loader and trainer -----------------------------------------------------------------------------


class Positions(Dataset[int]):
    def __len__(self) -> int:
        return len(WEIGHTS)

    def __getitem__(self, index: int) -> int:
        return index


class Foreign(lightning.LightningModule):
    """Somebody else's module, which writes down what it sees in each epoch."""

    def __init__(self, num_workers: int, tells_epoch: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.num_workers = num_workers
        self.tells_epoch = tells_epoch
        self.sampler = tracking()
        self.seen: dict[int, list[int]] = {}

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen.setdefault(self.current_epoch, []).extend(batch.tolist())
        return self.weight * 1.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)

    def train_dataloader(self) -> DataLoader[int]:
        if self.tells_epoch:
            self.sampler.set_epoch(self.current_epoch)
        return DataLoader(Positions(), 4, sampler=self.sampler, num_workers=self.num_workers)


@pytest.mark.parametrize("batch_size", [4, None])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_in_a_plain_loader(batch_size: int | None, num_workers: int) -> None:
    sampler = tracking()
    loader = DataLoader(Positions(), batch_size, sampler=sampler, num_workers=num_workers)

    for epoch in range(2):
        seen = torch.cat([torch.as_tensor(batch).reshape(-1) for batch in loader]).tolist()
        assert seen == drawn_in(epoch) == sampler.last_indices


class TestInAForeignTrainer:
    pytestmark = LIGHTNING_NOTICES

    @pytest.mark.parametrize("num_workers", [0, 1])
    def test_every_epoch_is_drawn_by_its_number(self, tmp_path: Path, num_workers: int) -> None:
        model = Foreign(num_workers, tells_epoch=False)
        make_trainer(tmp_path, max_epochs=3).fit(model)

        assert model.seen == {epoch: drawn_in(epoch) for epoch in range(3)}
        assert model.sampler.last_indices == drawn_in(2)

    @pytest.mark.parametrize(("num_workers", "tells_epoch"), [(0, False), (0, True), (1, True)])
    def test_a_resumed_run_draws_what_the_whole_one_draws(
        self, tmp_path: Path, num_workers: int, tells_epoch: bool
    ) -> None:
        checkpoint = tmp_path / "two_epochs.ckpt"
        first = make_trainer(tmp_path, max_epochs=2)
        first.fit(Foreign(num_workers, tells_epoch))
        first.save_checkpoint(checkpoint)

        resumed = Foreign(num_workers, tells_epoch)
        make_trainer(tmp_path, max_epochs=4).fit(resumed, ckpt_path=checkpoint, weights_only=True)

        assert resumed.seen == {epoch: drawn_in(epoch) for epoch in (2, 3)}


# -- the shuffle -------------------------------------------------------------------------------------------------


def test_a_shuffle_draws_every_index_once_by_seed_and_epoch() -> None:
    sampler = ShuffleSampler(50, seed=1)
    epochs = [list(sampler) for _ in range(3)]

    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert all(one != other for one, other in itertools.combinations(epochs, 2))
    sampler.set_epoch(1)
    assert list(sampler) == epochs[1]
    assert list(ShuffleSampler(50, seed=1)) == epochs[0]
    assert list(ShuffleSampler(50, seed=2)) != epochs[0]
    assert len(sampler) == 50


# -- batches of draws --------------------------------------------------------------------------------------------


def make_sampler(kind: str, num_samples: int = 53) -> TrackingWeightedRandomSampler | ShuffleSampler:
    return tracking(num_samples) if kind == "weighted" else ShuffleSampler(num_samples, seed=0)


KINDS = pytest.mark.parametrize("kind", ["weighted", "shuffle"])


@KINDS
def test_batches_are_the_samplers_order_numbered(kind: str) -> None:
    batches = DrawBatchSampler(make_sampler(kind), 8)
    reference = make_sampler(kind)
    order = [list(reference) for _ in range(2)]

    for epoch in range(2):
        found = list(batches)
        assert len(found) == len(batches) == 6
        assert all(len(batch) == 8 for batch in found)
        assert list(itertools.chain(*found)) == [Draw(order[epoch][number], epoch, number) for number in range(48)]


@KINDS
@pytest.mark.parametrize("epoch", [0, 3])
def test_the_sequence_does_not_depend_on_the_number_of_ranks(kind: str, epoch: int) -> None:
    def steps(world_size: int) -> list[list[Draw]]:
        """The draws of each step over all ranks, by their number."""
        ranks = []
        for rank in range(world_size):
            sampler = DrawBatchSampler(make_sampler(kind), 8 // world_size, rank=rank, world_size=world_size)
            sampler.sampler.set_epoch(epoch)
            ranks.append(list(sampler))
            assert len(sampler) == len(ranks[-1]) == 6
            assert {len(batch) for batch in ranks[-1]} == {8 // world_size}
        return [sorted(itertools.chain(*step), key=lambda draw: draw.number) for step in zip(*ranks, strict=True)]

    assert steps(1) == steps(2) == steps(4)


@KINDS
@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("batch", [0, 1, 4, 12, 13])
def test_seeking_gives_exactly_the_tail_and_then_whole_epochs(kind: str, world_size: int, batch: int) -> None:
    def make() -> DrawBatchSampler:
        return DrawBatchSampler(make_sampler(kind), 4 // world_size, rank=world_size - 1, world_size=world_size)

    whole = make()
    epochs = [list(whole) for _ in range(4)]
    sought = make()
    sought.seek(2, batch)

    assert len(sought) == 13
    assert list(sought) == epochs[2][batch:]
    assert list(sought) == epochs[3]
    sought.seek(1, 0)
    assert list(sought) == epochs[1]


def test_seeking_is_not_undone_when_lightning_sets_the_same_epoch() -> None:
    sought = DrawBatchSampler(ShuffleSampler(20, seed=0), 4)
    whole = list(sought)

    sought.seek(0, 3)
    sought.sampler.set_epoch(0)

    assert list(sought) == whole[3:]


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "world_size", "sizes"),
    [(8, 4, 1, [4, 4]), (9, 4, 1, [4, 4]), (3, 4, 1, [3]), (8, 4, 2, [4]), (7, 4, 2, [4]), (1, 1, 1, [1])],
)
def test_a_remainder_is_left_out_unless_nothing_else_is_there(
    num_samples: int, batch_size: int, world_size: int, sizes: list[int]
) -> None:
    sampler = DrawBatchSampler(ShuffleSampler(num_samples, 0), batch_size, world_size=world_size)

    assert [len(batch) for batch in sampler] == sizes
    assert len(sampler) == len(sizes)
