from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from classifier_training.data.loading.erasing import RandomErasing, erase, erase_by_mask


def rectangles(number: int = 2000, probability: float = 1.0, seed: int = 0, epoch: int = 0) -> torch.Tensor:
    found = RandomErasing(probability, seed).rectangles(epoch, np.arange(number), 32)
    return torch.from_numpy(found)


def sizes(found: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]


def test_areas_and_places_are_distributed_as_torchvisions() -> None:
    theirs = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(2000):
            y, x, height, width, _ = v2.RandomErasing(1.0).make_params([torch.zeros(3, 32, 32)]).values()
            theirs.append((y, x, y + height, x + width))
    ours, expected = rectangles(), torch.tensor(theirs)

    for one, other in zip(sizes(ours), sizes(expected), strict=True):
        assert one.float().mean().item() == pytest.approx(other.float().mean().item(), rel=0.05)
        assert one.float().std().item() == pytest.approx(other.float().std().item(), rel=0.08)
    assert ours.float().mean(0).tolist() == pytest.approx(expected.float().mean(0).tolist(), abs=0.6)
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 2:] <= 32).all()


def test_a_part_of_the_images_is_left_alone() -> None:
    found = rectangles(4000, probability=0.25)

    assert (found != 0).any(dim=1).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_what_is_erased_follows_from_seed_epoch_and_position() -> None:
    erasing = RandomErasing(0.5, seed=3)
    whole = erasing.rectangles(2, np.arange(40), 32)

    np.testing.assert_array_equal(erasing.rectangles(2, np.array([7, 8, 30]), 32), whole[[7, 8, 30]])
    assert not np.array_equal(erasing.rectangles(3, np.arange(40), 32), whole)
    assert not np.array_equal(RandomErasing(0.5, seed=4).rectangles(2, np.arange(40), 32), whole)


def test_erased_pixels_are_0_and_others_stay_on_every_device() -> None:
    images = torch.rand(16, 3, 32, 32) + 1
    found = rectangles(16, probability=0.5)
    erased, masked = images.clone(), images.clone()

    erase(erased, found)
    erase_by_mask(masked, found)

    assert torch.equal(erased, masked)
    heights, widths = sizes(found)
    assert torch.equal((erased == 0).sum((2, 3))[:, 0], heights * widths)
    assert torch.equal(erased[erased != 0], images[erased != 0])
