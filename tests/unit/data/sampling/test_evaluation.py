from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, cast

import lightning
import pytest
import torch
from tests.helpers.training import LIGHTNING_NOTICES, make_trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler, SequentialSampler

from classifier_training.data.sampling.batches import EpochBatchSampler
from classifier_training.data.sampling.evaluation import EvaluationShare, keep_shared
from classifier_training.data.sampling.sampler import ShuffleSampler
from classifier_training.errors import DataError


def batches_of(num_images: int, batch_size: int, rank: int, world_size: int) -> list[tuple[int, ...]]:
    share = EvaluationShare(num_images, batch_size, rank, world_size)
    images = list(share)
    assert len(images) == len(share)
    return [tuple(images[start : start + share.batch_size]) for start in range(0, len(images), share.batch_size)]


@pytest.mark.parametrize("num_images", [4, 5, 63, 64, 65, 499])
@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_every_image_once_and_every_rank_has_some(num_images: int, batch_size: int, world_size: int) -> None:
    shares = [batches_of(num_images, batch_size, rank, world_size) for rank in range(world_size)]

    assert sorted(itertools.chain(*itertools.chain(*shares))) == list(range(num_images))
    assert all(shares)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_an_image_is_in_the_same_batch_for_any_number_of_ranks(world_size: int) -> None:
    alone = batches_of(499, 64, 0, 1)
    shares = [batches_of(499, 64, rank, world_size) for rank in range(world_size)]

    assert set(itertools.chain(*shares)) == set(alone)
    assert alone == [tuple(range(start, min(start + 64, 499))) for start in range(0, 499, 64)]


def test_fewer_images_than_ranks_are_refused() -> None:
    with pytest.raises(DataError, match=r"^3 image\(s\) to score cannot be shared among 4 processes; give more"):
        EvaluationShare(3, 64, 1, 4)
    assert list(EvaluationShare(0, 64)) == []


def test_lightning_finds_nothing_to_replace() -> None:
    share = EvaluationShare(10, 4, 1, 2)
    assert (share.rank, share.num_replicas) == (1, 2)
    batches: Any = EpochBatchSampler(ShuffleSampler(9, 0), 3, world_size=3)
    loader: DataLoader[int] = DataLoader(cast("Dataset[int]", range(9)), batch_sampler=batches)

    assert keep_shared(loader) is loader
    for sampler in (share, loader.sampler):
        assert isinstance(sampler, DistributedSampler)
        assert isinstance(sampler, SequentialSampler)
    assert loader.batch_sampler is batches
    assert len(loader) == 1


class Sum(lightning.LightningModule):
    """Needs no more than that batches are numbers."""

    def __init__(self, train: DataLoader[int], val: DataLoader[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.loaders = [train, val]
        self.seen: list[list[int]] = []
        self.scored: list[list[int]] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen.append(batch.tolist())
        return self.weight * 1.0

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.scored.append(batch.tolist())

    def train_dataloader(self) -> DataLoader[int]:
        return self.loaders[0]

    def val_dataloader(self) -> DataLoader[int]:
        return self.loaders[1]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Positions(Dataset[int]):
    def __getitems__(self, batch: Any) -> list[int]:
        return list(getattr(batch, "indices", batch))

    def __len__(self) -> int:
        return 9


class TestInATrainer:
    pytestmark = LIGHTNING_NOTICES

    def test_overfitting_on_a_few_batches_keeps_both_loaders(self, tmp_path: Path) -> None:
        batches: Any = EpochBatchSampler(ShuffleSampler(9, 0), 3)
        train = keep_shared(DataLoader(Positions(), batch_sampler=batches))
        share = EvaluationShare(9, 4)
        model = Sum(train, DataLoader(Positions(), share.batch_size, sampler=share))

        make_trainer(tmp_path, overfit_batches=2).fit(model)

        assert model.seen == [batch.indices.tolist() for batch in EpochBatchSampler(ShuffleSampler(9, 0), 3)][:2]
        assert model.scored == [[0, 1, 2, 3], [4, 5, 6, 7]]
