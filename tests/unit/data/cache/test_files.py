from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.helpers.stored_images import image_of, make_image_cache, make_list, store_all

from classifier_training.data.cache.files import CHECKS_FILE, PIXELS_FILE, CacheFiles, checksum, is_end_of_image

PIXELS = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


# -- the checksum ------------------------------------------------------------------------------------------------


def test_the_checksum_is_a_function_of_the_image_and_its_position() -> None:
    assert checksum(PIXELS, 7) == checksum(PIXELS.copy(), 7)
    assert checksum(PIXELS, 7) != checksum(PIXELS, 8)
    assert checksum(PIXELS, 7) != checksum(PIXELS.reshape(128, 96, 3), 7)
    assert 0 < checksum(PIXELS, 7) < 2**64


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 3), (25, 27, 3), (28, 24, 3)])
def test_small_images_have_a_checksum_too(shape: tuple[int, int, int]) -> None:
    zeros, ones = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    ones[-1, -1, -1] = 1

    assert 0 < checksum(zeros, 0) != checksum(ones, 0)


def test_the_checksum_does_not_depend_on_where_the_image_lies_in_memory() -> None:
    memory = np.zeros(PIXELS.size + 3, np.uint8)
    shifted = memory[3:].reshape(PIXELS.shape)
    shifted[:] = PIXELS

    assert checksum(shifted, 1) == checksum(PIXELS, 1)


@pytest.mark.parametrize("block", [1, 8, 64, 512, 4096, 16_384])
def test_the_checksum_changes_with_what_a_torn_write_or_a_bad_disk_leaves(block: int) -> None:
    right = checksum(PIXELS, 0)
    for start in range(0, PIXELS.size - 2 * block, max(block, PIXELS.size // 40)):
        missing, swapped, repeated = (PIXELS.copy().reshape(-1) for _ in range(3))
        here, next_to_it = slice(start, start + block), slice(start + block, start + 2 * block)
        missing[here] = 0
        swapped[here], swapped[next_to_it] = PIXELS.reshape(-1)[next_to_it], PIXELS.reshape(-1)[here]
        repeated[next_to_it] = repeated[here]
        for wrong in (missing, swapped, repeated):
            if (wrong != PIXELS.reshape(-1)).any():
                assert checksum(wrong.reshape(PIXELS.shape), 0) != right


# -- the files ---------------------------------------------------------------------------------------------------


def test_views_are_read_only_memory_of_the_file(tmp_path: Path) -> None:
    images = make_list()
    store_all(make_image_cache(tmp_path, images), images)
    files = CacheFiles(tmp_path / "cache")

    for position in range(len(images)):
        view = files.view(position)
        assert view is not None
        assert not view.flags.writeable
        assert not view.flags.owndata
        np.testing.assert_array_equal(view, image_of(images, position))
        assert files.is_good(position)


def test_tables_of_different_lengths_are_refused(tmp_path: Path) -> None:
    make_image_cache(tmp_path, make_list())
    with (tmp_path / "cache" / CHECKS_FILE).open("ab") as file:
        file.write(bytes(8))

    with pytest.raises(ValueError, match="different lengths"):
        CacheFiles(tmp_path / "cache")


def test_a_slot_that_points_outside_of_the_file_has_no_room(tmp_path: Path) -> None:
    images = make_list()
    make_image_cache(tmp_path, images)
    slots = np.fromfile(tmp_path / "cache" / "slots.bin", np.int64).reshape(-1, 2)
    slots[0, 0], slots[1, 0], slots[2, 1], slots[3, 1] = 2**62, -64, -1, 2**62 + 5
    slots.tofile(tmp_path / "cache" / "slots.bin")

    files = CacheFiles(tmp_path / "cache")

    assert [files.view(position) is None for position in range(5)] == [True, True, True, True, False]


def test_storable_are_the_images_that_have_room(tmp_path: Path) -> None:
    images = make_list(sides=(10, 500))
    _, room = images.fitting(images.num_bytes // 2)
    make_image_cache(tmp_path, images, room)
    files = CacheFiles(tmp_path / "cache")

    storable = files.storable().tolist()

    assert 0 < len(storable) < len(images)
    assert storable == [position for position in range(len(images)) if files.view(position) is not None]


def test_the_end_of_an_image_is_known(tmp_path: Path) -> None:
    images = make_list()
    make_image_cache(tmp_path, images)
    ends = [images.fitting(number) for number in range(0, images.num_bytes + 64, 64)]
    lengths = {taken for _, taken in ends if taken}

    assert len(lengths) == len(images)
    for length in range(64, images.num_bytes + 129, 64):
        assert is_end_of_image(tmp_path / "cache", length) == (length in lengths)
        assert not is_end_of_image(tmp_path / "cache", length - 1)
    assert (tmp_path / "cache" / PIXELS_FILE).stat().st_size == images.num_bytes
