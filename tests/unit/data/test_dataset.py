from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers.images import make_image, make_pixels
from tests.helpers.photos import make_photo
from torch.utils.data import DataLoader
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

from classifier_training.config.schema import DataConfig
from classifier_training.data.dataset import EvaluationDataset, TrainDataset, collate
from classifier_training.data.sampler import Draw
from classifier_training.data.transforms import TrainTransform
from classifier_training.errors import BadImageError
from classifier_training.types import ClassificationBatch, Preprocessing

SMALL = Preprocessing(image_size=16, crop_pct=0.8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
STRONG = DataConfig(vflip=0.5, auto_augment="randaugment", color_jitter=0.5, random_erasing=0.5)


def make_train_dataset(root: Path, num_photos: int = 6, seed: int = 0) -> TrainDataset:
    paths = [str(make_photo(root / f"{number}.png", number)) for number in range(num_photos)]
    return TrainDataset(paths, [number % 2 for number in range(num_photos)], TrainTransform(SMALL, STRONG), seed)


def batches(dataset: TrainDataset, num_workers: int, epoch: int = 0) -> list[ClassificationBatch]:
    draws = [
        [Draw((number + first) % len(dataset), epoch, first + number) for number in range(3)] for first in (0, 3, 6)
    ]
    loader = DataLoader(dataset, batch_sampler=draws, num_workers=num_workers, collate_fn=collate)
    return list(loader)


def assert_same(actual: list[ClassificationBatch], expected: list[ClassificationBatch]) -> None:
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        assert torch.equal(one["images"], other["images"])
        assert torch.equal(one["labels"], other["labels"])
        assert torch.equal(one["indices"], other["indices"])


def test_batches_are_the_same_bits_for_any_number_of_workers(tmp_path: Path) -> None:
    dataset = make_train_dataset(tmp_path)
    alone = batches(dataset, 0)

    assert_same(batches(dataset, 1), alone)
    assert_same(batches(dataset, 2), alone)


def test_an_item_follows_from_its_draw_alone_and_leaves_the_global_generators(tmp_path: Path) -> None:
    dataset = make_train_dataset(tmp_path)
    expected = dataset[Draw(1, 2, 3)][0]

    with torch.random.fork_rng():
        torch.manual_seed(1234)
        numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - the global one is meant
        state, random_state = torch.get_rng_state(), random.getstate()
        assert torch.equal(dataset[Draw(1, 2, 3)][0], expected)

    with torch.random.fork_rng():
        torch.set_rng_state(state)
        dataset[Draw(1, 2, 3)]
        assert torch.equal(torch.get_rng_state(), state)
    after: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    np.testing.assert_array_equal(after["state"]["key"], numpy_state["state"]["key"])
    assert after["state"]["pos"] == numpy_state["state"]["pos"]
    assert random.getstate() == random_state


def test_a_failing_augmentation_gives_the_generator_back(tmp_path: Path) -> None:
    state = torch.get_rng_state()

    with pytest.raises(ZeroDivisionError):
        TrainTransform(SMALL, STRONG)(np.zeros((0, 0, 3), np.uint8), 5)

    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("one", "other"), [
    (Draw(0, 0, 0), Draw(0, 1, 0)),
    (Draw(0, 0, 0), Draw(0, 0, 1)),
])  # fmt: skip
def test_epochs_and_draws_differ(tmp_path: Path, one: Draw, other: Draw) -> None:
    dataset = make_train_dataset(tmp_path)

    assert not torch.equal(dataset[one][0], dataset[other][0])


def test_seeds_differ(tmp_path: Path) -> None:
    draw = Draw(0, 0, 0)

    assert not torch.equal(make_train_dataset(tmp_path, seed=0)[draw][0], make_train_dataset(tmp_path, seed=1)[draw][0])


def test_an_item_carries_its_label_and_position(tmp_path: Path) -> None:
    image, label, index = make_train_dataset(tmp_path)[Draw(3, 0, 5)]

    assert (label, index) == (1, 3)
    assert image.shape == (3, 16, 16)
    assert image.dtype == torch.float32


def test_a_file_that_breaks_during_training_is_named_and_not_replaced(tmp_path: Path) -> None:
    dataset = make_train_dataset(tmp_path)
    Path(dataset.paths[2]).write_bytes(b"")

    with pytest.raises(BadImageError, match=rf"{dataset.paths[2]}: the file is empty"):
        batches(dataset, 0)


def test_a_dataset_can_be_sent_to_a_worker(tmp_path: Path) -> None:
    dataset = make_train_dataset(tmp_path)
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own bytes

    assert torch.equal(copy[Draw(0, 0, 0)][0], dataset[Draw(0, 0, 0)][0])
    assert len(copy) == 6


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
@pytest.mark.parametrize("size", [(48, 32), (20, 33), (16, 16)])
def test_evaluation_is_torchvisions_reference(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    path = make_image(tmp_path / "a.png", make_pixels(*size), mode=mode)
    reference = Compose(
        [
            Resize(SMALL.resize_size, InterpolationMode(SMALL.interpolation)),
            CenterCrop(SMALL.image_size),
            ToTensor(),
            Normalize(SMALL.mean, SMALL.std),
        ]
    )

    image, label, index = EvaluationDataset([str(path)], [7], SMALL)[0]

    with Image.open(path) as file:
        torch.testing.assert_close(image, reference(file.convert("RGB")), rtol=0, atol=1e-6)
    assert (label, index) == (7, 0)


def test_evaluation_turns_pictures_upright(tmp_path: Path) -> None:
    upright = make_image(tmp_path / "a.png", make_pixels(48, 32))
    turned = make_image(tmp_path / "b.png", np.rot90(make_pixels(48, 32)), orientation=6)
    dataset = EvaluationDataset([str(upright), str(turned)], [0, 0], SMALL)

    assert torch.equal(dataset[0][0], dataset[1][0])
    assert len(dataset) == 2


def test_collating_gives_a_classification_batch() -> None:
    items = [(torch.full((3, 4, 4), float(number)), number % 2, 10 + number) for number in range(3)]

    batch = collate(items)

    assert set(batch) == ClassificationBatch.__required_keys__ == {"images", "labels", "indices"}
    assert (batch["images"].shape, batch["images"].dtype) == ((3, 3, 4, 4), torch.float32)
    assert (batch["labels"].tolist(), batch["labels"].dtype) == ([0, 1, 0], torch.int64)
    assert (batch["indices"].tolist(), batch["indices"].dtype) == ([10, 11, 12], torch.int64)
