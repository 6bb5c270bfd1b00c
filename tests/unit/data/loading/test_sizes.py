from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.images import make_image, make_pixels

from classifier_training.config.schema import DataConfig
from classifier_training.data.loading.batch_memory import BatchMemory
from classifier_training.data.loading.batch_plan import BatchPlan
from classifier_training.data.loading.dataset import EvaluationDataset, TrainDataset
from classifier_training.data.loading.mixing import BatchMixer
from classifier_training.data.loading.sizes import TrainingSizes
from classifier_training.data.loading.transforms import TrainTransform
from classifier_training.data.sampling.batches import SampledIndices
from classifier_training.errors import ConfigError
from classifier_training.types import ClassificationBatch, ImageRecord, Preprocessing

CHANGING = {"image_size": 16, "progressive_size": 0.5, "test_image_size": 24, "final_epochs_at_test_size": 1}
PLAIN = {"train_scale": (1.0, 1.0), "train_ratio": (1.0, 1.0), "hflip": 0.0, "color_jitter": 0.0}


def sizes_of(num_epochs: int | None, test_size: int, **settings: Any) -> TrainingSizes:
    return TrainingSizes.of(DataConfig(**settings), Preprocessing(image_size=test_size), num_epochs)


@pytest.mark.parametrize(("settings", "test_size", "expected"), [
    ({}, 224, [224] * 8),
    ({"image_size": 160, "test_image_size": 224}, 224, [160] * 8),
    ({"progressive_size": 0.5}, 224, [128, 128, 160, 160, 192, 192, 224, 224]),
    ({"progressive_size": 0.5, "progressive_until": 0.5}, 224, [128, 128, 160, 192, 224, 224, 224, 224]),
    ({"progressive_size": 0.5}, 32, [16, 20, 20, 24, 28, 28, 32, 32]),
    ({"progressive_size": 1.0}, 32, [32] * 8),
    ({"progressive_size": 0.1}, 64, [8, 16, 24, 36, 44, 56, 64, 64]),
    (CHANGING | {"final_epochs_at_test_size": 2}, 24, [8, 12, 12, 16, 16, 16, 24, 24]),
    (CHANGING | {"final_epochs_at_test_size": 20}, 24, [24] * 8),
])  # fmt: skip
def test_the_size_of_every_epoch(settings: dict[str, Any], test_size: int, expected: list[int]) -> None:
    sizes = sizes_of(8, test_size, **settings)

    assert [sizes.at(epoch) for epoch in range(8)] == expected
    assert sizes.distinct() == sorted(set(expected))


@pytest.mark.parametrize("num_epochs", [1, 2, 3])
@pytest.mark.parametrize("until", [0.75, 1.0])
def test_a_short_training_ends_at_the_full_size(num_epochs: int, until: float) -> None:
    sizes = sizes_of(num_epochs, 32, progressive_size=0.5, progressive_until=until)

    assert sizes.at(num_epochs - 1) == 32
    assert sizes.at(0) == (32 if num_epochs == 1 else 16)


@pytest.mark.parametrize(("settings", "name"), [
    ({"progressive_size": 0.5}, "progressive_size=0.5"), (CHANGING | {"progressive_size": None}, "final_epochs_at_test")
])  # fmt: skip
def test_without_a_number_of_epochs_there_are_no_last_ones(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"^data.{name}.*it is not known which epochs are the last ones"):
        sizes_of(None, 24, **settings)
    with pytest.raises(ConfigError, match="it is not known which epochs are the last ones"):
        BatchMixer.of(DataConfig(mixup=0.2, mix_off_epochs=3), 2, 0, None)
    assert sizes_of(None, 24, image_size=16).at(7) == 16


def make_dataset(root: Path, preprocessing: Preprocessing, **settings: Any) -> TrainDataset:
    config = DataConfig(**{**PLAIN, **settings})
    records = [ImageRecord(str(make_image(root / f"{n}.png", make_pixels(40 + 9 * n, 30, seed=n)))) for n in range(4)]
    plan = BatchPlan.of(config, preprocessing, 2, 0, 5)
    return TrainDataset(records, np.arange(4) % 2, TrainTransform(preprocessing, config), 0, reduce_to=28, plan=plan)


def batch_of(dataset: TrainDataset, epoch: int) -> ClassificationBatch:
    return dataset.__getitems__(SampledIndices(epoch, np.arange(4), np.arange(4)))


def test_batches_have_the_size_of_their_epoch_and_fit_into_the_memory_of_the_largest(tmp_path: Path) -> None:
    preprocessing = Preprocessing(image_size=24)
    dataset = make_dataset(tmp_path, preprocessing, **CHANGING, random_erasing=1.0, cutmix=1.0, color_jitter=0.4)

    memory = BatchMemory(1, 1, dataset.batch_bytes(4))
    for epoch, size in enumerate([8, 12, 12, 16, 24]):
        batch = batch_of(dataset, epoch)
        assert batch["images"].shape == (4, 3, size, size)
        assert batch["images"].numel() <= memory.slot_bytes
        assert batch["erased"].max() <= size
        assert ("mix" in batch) == (epoch < 4), "the epochs at the test size are not mixed"


def test_a_resumed_epoch_has_the_same_pixels_as_one_after_others(tmp_path: Path) -> None:
    one, other = (make_dataset(tmp_path, Preprocessing(image_size=24), **CHANGING) for _ in range(2))
    for epoch in range(3):
        batch_of(one, epoch)

    assert torch.equal(batch_of(one, 3)["images"], batch_of(other, 3)["images"])


@pytest.mark.parametrize("crop_pct", [1.0, 0.8])
def test_the_last_epochs_crop_as_the_evaluation_does(tmp_path: Path, crop_pct: float) -> None:
    preprocessing = Preprocessing(image_size=24, crop_pct=crop_pct, interpolation="bilinear")
    dataset = make_dataset(tmp_path, preprocessing, **CHANGING, cache_size="original")
    dataset.reduce_to = None
    scored = EvaluationDataset(dataset.records, dataset.labels, preprocessing).__getitems__(range(4))

    difference = (batch_of(dataset, 4)["images"].int() - scored["images"].int()).abs().float()

    assert difference.mean() < 6, "they differ by less than a pixel in the place of the crop"
    assert batch_of(dataset, 3)["images"].shape == (4, 3, 16, 16)
