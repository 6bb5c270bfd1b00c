from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from classifier_training.data.sampling.weighted import (
    check_weights,
    sample_with_replacement,
    sample_without_replacement,
)
from classifier_training.errors import ConfigError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_weights(num_samples: int = 5000) -> NDArray[np.float64]:
    """Weights over eight orders of magnitude; every tenth is 0, the first and the last too."""
    weights = np.exp(np.random.default_rng(0).normal(0, 3, num_samples))
    weights[::10] = 0
    weights[-1] = 0
    return weights


@pytest.mark.parametrize("num_samples", [2, 1000, 2**21 - 1, 2**21, 2**21 + 1])
def test_with_replacement_it_samples_what_torch_samples(num_samples: int) -> None:
    weights = make_weights()
    expected = torch.multinomial(torch.from_numpy(weights), num_samples, True, generator=generator())

    sampled = sample_with_replacement(weights, num_samples, generator())

    np.testing.assert_array_equal(sampled, expected.numpy())
    assert (weights[sampled] > 0).all()


@pytest.mark.parametrize("num_samples", [1, 1000, 4499])
def test_without_replacement_it_samples_what_torch_samples(num_samples: int) -> None:
    weights = make_weights()
    assert np.count_nonzero(weights) == 4499
    expected = torch.multinomial(torch.from_numpy(weights), num_samples, False, generator=generator())

    sampled = sample_without_replacement(weights, num_samples, generator())

    np.testing.assert_array_equal(sampled, expected.numpy())
    assert len(np.unique(sampled)) == num_samples


def test_all_of_the_samples_without_replacement() -> None:
    weights = np.random.default_rng(0).random(3000)
    expected = torch.multinomial(torch.from_numpy(weights), 3000, False, generator=generator())

    np.testing.assert_array_equal(sample_without_replacement(weights, 3000, generator()), expected.numpy())


@pytest.mark.parametrize("num_samples", [50, 100, 200])
def test_equal_arrivals_are_in_the_order_of_their_indices(num_samples: int) -> None:
    """Divided by a number around 1, the smallest weights there are give very few different quotients."""
    weights = np.full(200, 5e-324)
    exponential = torch.empty(200, dtype=torch.float64).exponential_(generator=generator()).numpy()
    quotients = weights / exponential
    assert len(np.unique(quotients)) < 30
    expected = sorted(range(200), key=lambda index: (-quotients[index], index))

    assert sample_without_replacement(weights, num_samples, generator()).tolist() == expected[:num_samples]


def test_the_smallest_weights_still_come_before_those_that_are_zero() -> None:
    weights = np.full(100, 5e-324)
    weights[::2] = 0

    assert sorted(sample_without_replacement(weights, 50, generator())) == list(range(1, 100, 2))


@pytest.mark.parametrize("first", [1, 3])
def test_leading_zeros_are_never_sampled(first: int) -> None:
    weights = np.zeros(10)
    weights[first:] = 1e-300

    assert sample_with_replacement(weights, 10_000, generator()).min() == first


@pytest.mark.parametrize(
    ("weights", "num_distinct", "message"),
    [
        ([1.0, -0.5], None, r"weights\[1\]=-0\.5 of the sampler; a weight must be a finite number ≥ 0"),
        ([np.nan, 1.0], None, r"weights\[0\]=nan of the sampler"),
        ([1.0, 2.0, np.inf], None, r"weights\[2\]=inf of the sampler"),
        ([0.0, 0.0], None, "all 2 weights of the sampler are 0; at least one must be above 0"),
        ([], None, "all 0 weights of the sampler are 0"),
        ([1e308, 1e308], None, "add up to infinity; divide all of them by the largest one"),
        ([1.0, 0.0, 1.0], 3, "num_samples=3 of the sampler without replacement, but only 2 of 3 weights are above 0"),
    ],
)
def test_weights_that_cannot_be_sampled_by(weights: list[float], num_distinct: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_weights(np.array(weights), num_distinct)
    assert "\n" not in str(caught.value)


def test_weights_that_can_be_sampled_by() -> None:
    check_weights(np.array([0.0, 1e-320, 1e300]), None)
    check_weights(np.array([0.0, 1.0, 2.0]), 2)
