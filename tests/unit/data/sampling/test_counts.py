from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from tests.helpers.training import LIGHTNING_NOTICES, make_trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from classifier_training.data.sampling.batches import EpochBatchSampler, SampledIndices
from classifier_training.data.sampling.counts import SampleLog, batches_seen
from classifier_training.data.sampling.sampler import TrackingWeightedRandomSampler

LABELS = [0, 2, 0, 1, 2, 2, 0, 0]  # of four classes, the last without images
WEIGHTS = [0.1, 0.5, 0.0, 2.0, 3.0, 1.0, 0.4, 0.2]


def make_batches(rank: int = 0, world_size: int = 1) -> EpochBatchSampler:
    sampler = TrackingWeightedRandomSampler(WEIGHTS, 53, generator=torch.Generator().manual_seed(0))
    return EpochBatchSampler(sampler, 4 // world_size, rank=rank, world_size=world_size)


def seen(epoch: int, num_batches: int, world_size: int) -> Counter[int]:
    """Samples that all ranks have seen, counted one by one."""
    counted: Counter[int] = Counter()
    for rank in range(world_size):
        batches = make_batches(rank, world_size)
        batches.seek(epoch, 0)
        for batch in list(batches)[:num_batches]:
            counted.update(batch.indices.tolist())
    return counted


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("num_batches", [0, 5, 13])
def test_it_counts_what_all_ranks_have_seen(world_size: int, num_batches: int) -> None:
    sample_log = SampleLog(make_batches(0, world_size), LABELS, 4, lambda epoch: num_batches if epoch == 1 else 0)
    expected = seen(1, num_batches, world_size)

    per_sample = sample_log.counts_per_sample(1)
    assert per_sample.tolist() == [expected[sample] for sample in range(8)]
    by_class = [sum(expected[sample] for sample in range(8) if LABELS[sample] == label) for label in range(4)]
    assert sample_log.counts_per_class(1).tolist() == by_class
    assert per_sample.sum() == num_batches * 4
    assert sample_log.seen(1).epoch == 1
    assert sample_log.counts_per_class(0).tolist() == [0, 0, 0, 0]
    assert sample_log.counts_per_class(1).dtype == per_sample.dtype == np.int64


def test_it_follows_the_training_as_it_continues() -> None:
    done = {"batches": 0}
    sample_log = SampleLog(make_batches(), np.array(LABELS), 3, lambda epoch: done["batches"])

    counts = []
    for done["batches"] in range(4):
        counts.append(int(sample_log.counts_per_class(0).sum()))

    assert counts == [0, 4, 8, 12]


# -- in a Trainer ------------------------------------------------------------------------------------------------


class Samples(Dataset[Tensor]):
    """Gives the positions that are asked for, a batch at once."""

    def __getitems__(self, batch: SampledIndices) -> Tensor:
        return torch.from_numpy(batch.indices)


class Bookkeeper(lightning.LightningModule):
    """Counts what it sees, and compares the sample_log's count at every hook.

    Args:
        skipped: Batch at which an epoch is broken off; None: none.
    """

    def __init__(self, skipped: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.batches: Any = make_batches()
        self.skipped = skipped
        self.seen: list[Counter[int]] = [Counter() for _ in range(3)]
        self.num_comparisons = 0
        self.sample_log = SampleLog(self.batches, LABELS, 3, lambda epoch: batches_seen(self.trainer, epoch, 13))

    def compare(self, *_: Any, **__: Any) -> None:
        for epoch, seen in enumerate(self.seen):
            expected = [seen[sample] for sample in range(8)]
            assert self.sample_log.counts_per_sample(epoch).tolist() == expected, (
                f"epoch {epoch} in {self.current_epoch}"
            )
        self.num_comparisons += 1

    on_train_start = on_train_epoch_start = on_train_batch_end = on_train_epoch_end = on_train_end = compare
    on_save_checkpoint = compare

    def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> int | None:
        self.compare()
        return -1 if batch_idx == self.skipped else None

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.compare()
        self.seen[self.current_epoch].update(batch.tolist())
        return self.weight * 1.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(Samples(), batch_sampler=self.batches, collate_fn=_as_it_is)


def _as_it_is(batch: Any) -> Any:
    return batch


class TestInATrainer:
    pytestmark = LIGHTNING_NOTICES

    @pytest.mark.parametrize(
        ("options", "skipped", "in_all"),
        [
            ({"max_epochs": 3}, None, [52, 52, 52]),
            ({"max_epochs": 3, "limit_train_batches": 5}, None, [20, 20, 20]),
            ({"max_epochs": 3, "max_steps": 16}, None, [52, 12, 0]),
            ({"max_epochs": 1}, 7, [28, 0, 0]),
        ],
    )
    def test_it_is_correct_at_every_moment(
        self, tmp_path: Path, options: dict[str, Any], skipped: int | None, in_all: list[int]
    ) -> None:
        model = Bookkeeper(skipped)

        make_trainer(tmp_path, **options).fit(model)

        assert model.num_comparisons > 15
        assert [seen.total() for seen in model.seen] == in_all
        model.compare()

    @pytest.mark.parametrize("step", [5, 13, 16])
    def test_it_counts_what_was_seen_before_a_resume(self, tmp_path: Path, step: int) -> None:
        before, after = Bookkeeper(), Bookkeeper()
        first = make_trainer(tmp_path, max_epochs=3, max_steps=step)
        first.fit(before)
        first.save_checkpoint(tmp_path / "stopped.ckpt")

        after.seen = before.seen
        after.batches.seek(*divmod(step, 13))
        resumed = make_trainer(tmp_path, max_epochs=3, max_steps=step)
        resumed.fit(after, ckpt_path=tmp_path / "stopped.ckpt", weights_only=True)

        after.compare()
        assert sum(seen.total() for seen in after.seen) == 4 * step
