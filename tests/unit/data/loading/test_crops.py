from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.transforms import RandomResizedCrop

from classifier_training.data.loading.crops import Crop, Randomness, random_uniforms

SCALE, RATIO = (0.08, 1.0), (0.75, 4 / 3)


def rows(numbers: list[int], seed: int = 0, epoch: int = 0) -> list[list[float]]:
    return random_uniforms(seed, epoch, np.array(numbers, np.int64))


def test_the_random_numbers_depend_on_seed_epoch_and_position_alone() -> None:
    alone = {number: rows([number])[0] for number in (0, 1, 2, 3, 64, 65, 10**12)}

    for numbers in ([0, 1, 2, 3], [64, 65], [3, 2, 1], [10**12, 0, 65], [1, 1, 3], [0, 2, 64, 65]):
        assert rows(numbers) == [alone[number] for number in numbers]
    assert rows([]) == []
    everything = [*alone.values(), rows([0], seed=1)[0], rows([0], epoch=1)[0]]
    assert len({tuple(row) for row in everything}) == len(everything)
    assert len({value for row in everything for value in row}) == sum(map(len, everything))


def test_the_numbers_are_uniform() -> None:
    values = np.array(rows(list(range(4000))))

    assert values.min() >= 0
    assert values.max() < 1
    np.testing.assert_allclose(values.mean(axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(values.var(axis=0), 1 / 12, atol=0.01)
    correlations = np.corrcoef(values.T) - np.eye(values.shape[1])
    assert np.abs(correlations).max() < 0.08


@pytest.mark.parametrize("size", [(400, 533), (300, 300), (640, 120), (90, 700)])
def test_crops_are_distributed_as_torchvisions(size: tuple[int, int]) -> None:
    count = 3000
    ours = np.array([Randomness(row).crop(size, SCALE, RATIO) for row in rows(list(range(count)))])
    image = torch.empty(3, size[1], size[0])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sampled = [RandomResizedCrop.get_params(image, list(SCALE), list(RATIO)) for _ in range(count)]
    theirs = np.array([(left, top, width, height) for top, left, height, width in sampled])

    for one, other in zip((*ours.T, ours[:, 2] * ours[:, 3]), (*theirs.T, theirs[:, 2] * theirs[:, 3]), strict=True):
        assert largest_gap(one, other) < 0.05  # Kolmogorov-Smirnov; 0.05 is exceeded once in 700 times by chance


def largest_gap(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """The largest difference of two empirical distribution functions."""
    values = np.union1d(one, other)
    sides = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(sides[0] - sides[1]).max())


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (5, 3), (37, 41), (10_000, 20)])
@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.35, 1.0), (1.0, 1.0), (0.01, 0.01)])
@pytest.mark.parametrize("ratio", [(0.75, 4 / 3), (1.0, 1.0), (0.1, 0.2), (5.0, 9.0)])
def test_crops_lie_in_the_image(size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]) -> None:
    for row in rows(list(range(60))):
        crop = Randomness(row).crop(size, scale, ratio)
        assert crop.left >= 0
        assert crop.top >= 0
        assert crop.width >= 1
        assert crop.height >= 1
        assert crop.left + crop.width <= size[0]
        assert crop.top + crop.height <= size[1]


def test_every_position_is_reached() -> None:
    crops = [Randomness(row).crop((4, 4), (0.25, 0.25), (1.0, 1.0)) for row in rows(list(range(200)))]

    assert {(crop.left, crop.top) for crop in crops} == {(left, top) for left in range(3) for top in range(3)}


def test_a_crop_that_never_fits_is_the_largest_centred_one() -> None:
    (row,) = rows([0])

    assert Randomness(row).crop((100, 40), (1.0, 1.0), (1.0, 1.0)) == Crop(30, 0, 40, 40)
    assert Randomness(row).crop((40, 100), (1.0, 1.0), (0.5, 0.5)) == Crop(0, 10, 40, 80)


@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_a_shrunk_crop_lies_whole_in_the_crop_and_misses_less_than_a_pixel(shrink: int) -> None:
    for row in rows(list(range(50))):
        crop = Randomness(row).crop((333, 277), SCALE, RATIO)
        small = crop.shrunk(shrink)
        assert small.left + small.width <= math.ceil(333 / shrink)
        assert small.top + small.height <= math.ceil(277 / shrink)
        for start, length, small_start, small_length in zip(crop[:2], crop[2:], small[:2], small[2:], strict=True):
            assert start - shrink < small_start * shrink <= start
            assert length - shrink < small_length * shrink <= length


def test_a_crop_is_a_view() -> None:
    pixels = np.zeros((5, 7, 3), np.uint8)

    part = Crop(1, 2, 3, 2).of(pixels)
    part[:] = 9

    assert part.shape == (2, 3, 3)
    assert pixels[2:4, 1:4].min() == 9
    assert pixels.sum() == 9 * part.size


def test_flips_and_seeds() -> None:
    randoms = [Randomness(row) for row in rows(list(range(2000)))]

    flips = np.array([random.flips(0.5, 0.1) for random in randoms]).mean(axis=0)
    np.testing.assert_allclose(flips, [0.5, 0.1], atol=0.04)
    assert not any(any(random.flips(0.0, 0.0)) for random in randoms)
    assert all(all(random.flips(1.0, 1.0)) for random in randoms)
    seeds = {random.seed for random in randoms}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**53 for seed in seeds)
