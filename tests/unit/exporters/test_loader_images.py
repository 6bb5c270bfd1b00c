from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.helpers.torch_models import make_batch
from torch.utils.data import DataLoader, TensorDataset

from classifier_training.exporters.loader_images import first_images, images_in

IMAGES = make_batch(4)
LABELS = torch.arange(4)
MASKS = torch.zeros(4, 3, 2, 2)


@pytest.mark.parametrize(
    "batch",
    [
        IMAGES,
        (IMAGES, LABELS),
        [LABELS, IMAGES],
        {"images": IMAGES, "labels": LABELS},
        {"mask": MASKS, "pixel_values": IMAGES},
        {"labels": LABELS, "whatever": IMAGES},
        ({"x": IMAGES}, LABELS),
        (IMAGES.double(), LABELS),
    ],
)
def test_images_are_found_in_batches_of_every_form(batch: Any) -> None:
    found = images_in(batch)

    assert found is not None
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, IMAGES)


@pytest.mark.parametrize("batch", [LABELS, (LABELS, "text"), {}, None, IMAGES.to(torch.uint8), IMAGES[:, :1]])
def test_what_holds_no_images(batch: Any) -> None:
    assert images_in(batch) is None


@pytest.mark.parametrize(("num_images", "expected"), [(1, 1), (4, 4), (9, 9), (99, 10)])
def test_batches_are_read_until_there_are_enough(num_images: int, expected: int) -> None:
    images = make_batch(10)
    loader = DataLoader(TensorDataset(images, torch.arange(10)), batch_size=4)

    found = first_images(loader, num_images)

    assert found is not None
    torch.testing.assert_close(found, images[:expected])


def test_several_loaders_and_none() -> None:
    loader = DataLoader(TensorDataset(IMAGES), batch_size=4)

    for loaders in ([loader, loader], {"a": loader, "b": loader}):
        found = first_images(loaders, 6)
        assert found is not None
        assert len(found) == 6
    assert first_images(None, 6) is None
    assert first_images([], 6) is None


def test_images_of_another_size_end_the_search() -> None:
    loaders = [DataLoader(TensorDataset(make_batch(3, size)), batch_size=3) for size in (16, 8)]

    found = first_images(loaders, 6)

    assert found is not None
    assert found.shape == (3, 3, 16, 16)


def test_batches_without_images_are_prepared_as_for_a_model() -> None:
    raw = (255 * make_batch(5).abs().clamp(max=1)).to(torch.uint8)
    loader = DataLoader(TensorDataset(raw), batch_size=2)

    found = first_images(loader, 4, lambda batch: [batch[0] / 255])

    assert found is not None
    assert torch.equal(found, raw[:4] / 255)
    assert first_images(loader, 4) is None
    assert first_images(loader, 4, lambda batch: batch) is None


def test_images_that_are_there_are_not_prepared_again() -> None:
    loader = DataLoader(TensorDataset(make_batch(5)), batch_size=2)

    found = first_images(loader, 4, lambda batch: [batch[0] * 0])

    assert found is not None
    assert torch.equal(found, make_batch(5)[:4])
