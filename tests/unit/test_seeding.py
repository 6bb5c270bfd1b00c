from __future__ import annotations

import itertools

import numpy as np
import pytest

from classifier_training.seeding import mix_seed


def test_seeds_are_in_range_and_pinned_over_versions() -> None:
    seeds = [mix_seed(seed, epoch, number) for seed, epoch, number in itertools.product(range(5), repeat=3)]

    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len(set(seeds)) == len(seeds)
    assert mix_seed(1, 2, 3) == 6_530_208_866_956_668_065


def test_order_and_number_of_parts_matter() -> None:
    assert len({mix_seed(1, 2), mix_seed(2, 1), mix_seed(1), mix_seed(2), mix_seed(1, 2, 3), mix_seed(1, 2, 0)}) == 6


def test_large_parts_are_taken_whole() -> None:
    assert len({mix_seed(2**64 - 1, 1), mix_seed(2**32 - 1, 1), mix_seed(2**63, 1)}) == 3


def test_neighbours_are_unrelated() -> None:
    bits = np.array([[mix_seed(0, 0, number) >> bit & 1 for bit in range(63)] for number in range(400)])

    # about half of the bits flip from one draw to the next, and every bit is set about half of the time
    assert abs(np.abs(np.diff(bits, axis=0)).mean() - 0.5) < 0.02
    assert (np.abs(bits.mean(axis=0) - 0.5) < 0.12).all()


def test_negative_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        mix_seed(-1)
