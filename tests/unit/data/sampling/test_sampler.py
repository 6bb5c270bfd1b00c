from __future__ import annotations

import itertools
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from tests.helpers.training import LIGHTNING_NOTICES, make_trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler, WeightedRandomSampler

from classifier_training.data.sampling.sampler import ShuffleSampler, TrackingWeightedRandomSampler
from classifier_training.errors import ConfigError
from classifier_training.seeding import mix_seed

WEIGHTS = [0.1, 0.5, 0.0, 2.0, 3.0, 1.0, 0.4, 0.2]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tracking(num_samples: int = 20, seed: int = 0, **options: Any) -> TrackingWeightedRandomSampler:
    return TrackingWeightedRandomSampler(WEIGHTS, num_samples, generator=generator(seed), **options)


def epoch_samples(epoch: int, **options: Any) -> list[int]:
    sampler = tracking(**options)
    sampler.set_epoch(epoch)
    return list(sampler)


# -- the weighted sampler ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_samples", [6, 1])
@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 12345, 2**63 - 1, -1])
@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_the_first_epoch_is_what_torch_samples(seed: int, replacement: bool, kind: Any, num_samples: int) -> None:
    sampler = TrackingWeightedRandomSampler(kind(WEIGHTS), num_samples, replacement, generator(seed))
    reference = WeightedRandomSampler(kind(WEIGHTS), num_samples, replacement, generator(seed))

    assert isinstance(sampler, WeightedRandomSampler)
    assert list(sampler) == list(reference)
    assert len(sampler) == len(reference) == num_samples


@pytest.mark.parametrize("replacement", [True, False])
def test_a_later_epoch_is_what_torch_samples_with_the_seed_of_that_epoch(replacement: bool) -> None:
    reference = WeightedRandomSampler(WEIGHTS, 7, replacement, generator(mix_seed(5, 3)))

    assert epoch_samples(3, num_samples=7, seed=5, replacement=replacement) == list(reference)


def test_what_it_yields_are_plain_ints() -> None:
    assert {type(index) for index in tracking()} == {int}
    assert {type(index) for index in ShuffleSampler(3, 0)} == {int}


def test_without_a_generator_it_follows_torchs_seed() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = list(WeightedRandomSampler(WEIGHTS, 20))
        torch.manual_seed(3)
        sampler = TrackingWeightedRandomSampler(WEIGHTS, 20)
        torch.rand(5)

        assert list(sampler) == expected


@pytest.mark.parametrize("seed", [0, -1])
def test_every_epoch_differs_and_depends_on_its_number_alone(seed: int) -> None:
    sampler = tracking(seed=seed)
    epochs = [list(sampler) for _ in range(4)]

    assert all(one != other for one, other in itertools.combinations(epochs, 2))
    assert epochs == [epoch_samples(epoch, seed=seed) for epoch in range(4)]
    sampler.set_epoch(2)
    assert [list(sampler), list(sampler)] == epochs[2:]
    assert epoch_samples(1, seed=7) != epoch_samples(1, seed=8)


def test_drawing_neither_needs_nor_touches_the_global_generator() -> None:
    expected = epoch_samples(3)
    state = torch.get_rng_state()

    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert epoch_samples(3) == expected
    epoch_samples(3)

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

    sampled = list(sampler)

    expected = [sum(labels[index] == label for index in sampled) for label in range(4)]
    assert sampler.counts_per_class(labels) == sampler.counts_per_class(torch.tensor(labels)) == expected
    assert sampler.counts_per_class(labels, num_classes=6) == [*expected, 0, 0]
    assert expected[2] == 0
    assert 2 not in sampled


def test_frequencies_follow_the_weights() -> None:
    num_samples = 20_000
    sampled = torch.bincount(torch.tensor(list(tracking(num_samples))), minlength=len(WEIGHTS))

    shares = torch.tensor(WEIGHTS) / sum(WEIGHTS)
    deviation = (num_samples * shares * (1 - shares)).sqrt()
    assert ((sampled - num_samples * shares).abs() <= 5 * deviation).all()


def test_without_replacement_nothing_is_sampled_twice() -> None:
    for epoch in range(5):
        assert sorted(epoch_samples(epoch, num_samples=7, replacement=False)) == [0, 1, 3, 4, 5, 6, 7]


def test_bad_arguments_are_refused_as_by_torch() -> None:
    with pytest.raises(ValueError, match="num_samples"):
        TrackingWeightedRandomSampler(WEIGHTS, 0)
    with pytest.raises(ValueError, match="1d"):
        TrackingWeightedRandomSampler(torch.ones(2, 2), 4)


@pytest.mark.parametrize(
    "share", [{"rank": 0}, {"world_size": 2}, {"rank": 2, "world_size": 2}, {"rank": -1, "world_size": 1}]
)
def test_half_a_share_is_refused(share: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"rank=.*, world_size=.*; give 0 ≤ rank < world_size, or neither$"):
        tracking(**share)


def test_it_survives_the_trip_to_another_process() -> None:
    sampler = tracking()
    list(sampler)

    copy = pickle.loads(pickle.dumps(sampler))  # noqa: S301 - our own bytes

    assert copy.last_indices == sampler.last_indices
    assert list(copy) == list(sampler)


# -- its share ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("make", [tracking, lambda num_samples, **share: ShuffleSampler(num_samples, 0, **share)])
def test_ranks_share_one_list_and_leave_the_remainder_out(make: Any, world_size: int) -> None:
    whole = list(make(53))
    samplers = [make(53, rank=rank, world_size=world_size) for rank in range(world_size)]
    shares = [list(sampler) for sampler in samplers]

    assert {len(share) for share in shares} == {len(sampler) for sampler in samplers} == {53 // world_size}
    dealt = list(itertools.chain(*zip(*shares, strict=True)))
    assert dealt == whole[: 53 - 53 % world_size]


def test_what_is_remembered_is_of_all_ranks() -> None:
    alone, second = tracking(), tracking(rank=1, world_size=2)
    list(alone), list(second)

    assert second.last_indices == alone.last_indices
    labels = list(range(len(WEIGHTS)))
    assert second.counts_per_class(labels) == alone.counts_per_class(labels)


def test_too_few_samples_for_all_ranks() -> None:
    sampler = tracking(3, rank=0, world_size=4)
    with pytest.raises(ConfigError, match="num_samples=3 cannot be shared among 4 processes"):
        len(sampler)


def test_lightning_takes_it_for_a_sampler_that_is_shared_already() -> None:
    sampler = tracking(rank=1, world_size=3)

    assert isinstance(sampler, DistributedSampler)
    assert (sampler.rank, sampler.num_replicas) == (1, 3)
    assert (tracking().rank, tracking().num_replicas) == (0, 1)


# -- many samples ------------------------------------------------------------------------------------------------

MORE_THAN_TORCH_TAKES = 2**24 + 3


@pytest.mark.parametrize(("replacement", "num_samples"), [(True, 100), (False, 3)])
def test_more_samples_than_torch_can_sample_from(replacement: bool, num_samples: int) -> None:
    weights = torch.zeros(MORE_THAN_TORCH_TAKES, dtype=torch.float64)
    weights[[5, 2**24, 2**24 + 2]] = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    sampler = TrackingWeightedRandomSampler(weights, num_samples, replacement, generator(0))

    assert set(sampler) == {5, 2**24, 2**24 + 2}
    with pytest.raises(RuntimeError, match="number of categories cannot exceed"):
        torch.multinomial(weights, num_samples, replacement)


def test_a_shuffle_of_more_samples_than_float32_can_count() -> None:
    order = ShuffleSampler(MORE_THAN_TORCH_TAKES, 0).indices(0)

    assert np.array_equal(np.sort(order), np.arange(MORE_THAN_TORCH_TAKES))


MEASURE = """
import collections, os, sys
from pathlib import Path
import numpy as np, psutil, torch
from classifier_training.data.sampling.sampler import ShuffleSampler, TrackingWeightedRandomSampler

NUM_SAMPLES = 14_000_000

def measure(kind):
    weights = torch.from_numpy(np.random.default_rng(0).random(NUM_SAMPLES if kind != "shuffle" else 0))
    before = psutil.Process().memory_info().rss
    if kind == "shuffle":
        sampler = ShuffleSampler(NUM_SAMPLES, 0)
    else:
        sampler = TrackingWeightedRandomSampler(weights, NUM_SAMPLES, kind == "with", torch.Generator())
    collections.deque(sampler, maxlen=0)
    status = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in status if line.startswith("VmHWM"))
    return int(peak) * 1024 - before

for kind in ("with", "without", "shuffle"):
    child = os.fork()  # each has a peak of its own
    if not child:
        print(kind, measure(kind), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak")
def test_an_epoch_of_fourteen_million_samples_needs_little_memory() -> None:
    measured = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)

    found = dict(line.split() for line in measured.stdout.splitlines())
    assert found.keys() == {"with", "without", "shuffle"}
    assert max(map(int, found.values())) < 500_000_000, found


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
        assert seen == epoch_samples(epoch) == sampler.last_indices


class TestInAForeignTrainer:
    pytestmark = LIGHTNING_NOTICES

    @pytest.mark.parametrize("num_workers", [0, 1])
    def test_every_epoch_is_sampled_by_its_number(self, tmp_path: Path, num_workers: int) -> None:
        model = Foreign(num_workers, tells_epoch=False)
        make_trainer(tmp_path, max_epochs=3).fit(model)

        assert model.seen == {epoch: epoch_samples(epoch) for epoch in range(3)}
        assert model.sampler.last_indices == epoch_samples(2)

    @pytest.mark.parametrize(("num_workers", "tells_epoch"), [(0, False), (0, True), (1, True)])
    def test_a_resumed_run_samples_what_the_whole_one_samples(
        self, tmp_path: Path, num_workers: int, tells_epoch: bool
    ) -> None:
        checkpoint = tmp_path / "two_epochs.ckpt"
        first = make_trainer(tmp_path, max_epochs=2)
        first.fit(Foreign(num_workers, tells_epoch))
        first.save_checkpoint(checkpoint)

        resumed = Foreign(num_workers, tells_epoch)
        make_trainer(tmp_path, max_epochs=4).fit(resumed, ckpt_path=checkpoint, weights_only=True)

        assert resumed.seen == {epoch: epoch_samples(epoch) for epoch in (2, 3)}


# -- the shuffle -------------------------------------------------------------------------------------------------


def test_a_shuffle_samples_every_index_once_by_seed_and_epoch() -> None:
    sampler = ShuffleSampler(50, seed=1)
    epochs = [list(sampler) for _ in range(3)]

    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert all(one != other for one, other in itertools.combinations(epochs, 2))
    sampler.set_epoch(1)
    assert list(sampler) == epochs[1]
    assert list(ShuffleSampler(50, seed=1)) == epochs[0]
    assert list(ShuffleSampler(50, seed=2)) != epochs[0]
    assert len(sampler) == 50
