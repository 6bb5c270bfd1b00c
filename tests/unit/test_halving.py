from __future__ import annotations

import warnings

import pytest

from classifier_training.halving import Halving


class Device:
    """Computes at most so many numbers at once."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sizes: list[int] = []

    def __call__(self, part: slice) -> list[int]:
        size = part.stop - part.start
        self.sizes.append(size)
        if size > self.most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return list(range(10))[part]


def test_what_fits_is_computed_at_once_without_a_warning() -> None:
    device = Device(10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Halving("scoring")(device, 10) == [list(range(10))]
        assert Halving("scoring")(device, 0) == [[]]
    assert device.sizes == [10, 0]


def test_what_does_not_fit_is_computed_in_parts_and_so_are_the_next_batches() -> None:
    device, halving = Device(3), Halving("scoring")
    message = "out of memory while scoring 10 images at once: going on with 2 at once, which changes no score"
    with pytest.warns(UserWarning, match=message) as caught:
        parts = halving(device, 10)
    assert len(caught) == 1
    assert [number for part in parts for number in part] == list(range(10))
    assert device.sizes == [10, 5, 2, 2, 2, 2, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert halving(device, 4) == [[0, 1], [2, 3]]


def test_what_a_single_image_needs_and_what_is_no_lack_of_memory_is_raised() -> None:
    device = Device(0)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        Halving("scoring")(device, 10)
    assert device.sizes == [10, 5, 2, 1]

    def fail(part: slice) -> None:
        raise ValueError(part)

    with pytest.raises(ValueError, match="slice"):
        Halving("scoring")(fail, 10)
