from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.helpers.stored_images import image_of, make_image_cache, make_list, valid_positions

from classifier_training.data.cache.fill import fill_cache
from classifier_training.data.cache.image_cache import ImageCache
from classifier_training.data.cache.marks import CacheMarks
from classifier_training.data.cache.slots import ImageList


class Maker:
    """Makes images, and remembers which; raises for one of them."""

    def __init__(self, images: ImageList, broken: int | None = None) -> None:
        self.images = images
        self.broken = broken
        self.made: list[int] = []

    def __call__(self, position: int) -> NDArray[np.uint8]:
        if position == self.broken:
            raise ValueError("cannot be decoded")
        self.made.append(position)
        return image_of(self.images, position)


@pytest.mark.parametrize("num_threads", [1, 3, None])
def test_every_image_is_made_once(tmp_path: Path, num_threads: int | None) -> None:
    images = make_list(1500, sides=(2, 9))
    cache, make = make_image_cache(tmp_path, images), Maker(images)
    steps: list[tuple[int, int]] = []

    assert fill_cache(cache, make, lambda done, total: steps.append((done, total)), num_threads) == 1500

    assert sorted(make.made) == list(range(1500))
    assert steps == [(done, 1500) for done in range(1, 1501)]
    assert valid_positions(cache, images) == list(range(1500))


def test_a_filling_that_was_interrupted_continues(tmp_path: Path) -> None:
    images = make_list(30)
    cache, broken = make_image_cache(tmp_path, images), Maker(images, broken=20)
    with pytest.raises(ValueError, match="cannot be decoded"):
        fill_cache(cache, broken, num_threads=1)
    assert set(range(20)) <= set(broken.made)
    make = Maker(images)

    made = fill_cache(ImageCache(cache.folder, CacheMarks(None, 30)), make)

    assert made == 30 - len(broken.made)
    assert sorted([*make.made, *broken.made]) == list(range(30))
    assert valid_positions(cache, images) == list(range(30))


def test_an_image_that_is_damaged_is_stored_again(tmp_path: Path) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    fill_cache(cache, Maker(images))
    content = (cache.folder / "pixels.bin").read_bytes()
    (cache.folder / "pixels.bin").write_bytes(bytes([content[0] ^ 1]) + content[1:])
    make = Maker(images)

    assert fill_cache(ImageCache(cache.folder, CacheMarks(None, 8)), make) == 1

    assert make.made == [0]
    assert (cache.folder / "pixels.bin").read_bytes() == content


def test_images_without_room_are_not_made(tmp_path: Path) -> None:
    images = make_list()
    count, room = images.fitting(images.num_bytes // 2)
    make = Maker(images)

    assert fill_cache(make_image_cache(tmp_path, images, room), make) == count

    assert sorted(make.made) == list(range(count))


def test_a_cache_that_takes_no_more_ends_the_filling(tmp_path: Path) -> None:
    images = make_list(3000, sides=(2, 9))
    cache, make = make_image_cache(tmp_path, images), Maker(images)

    def stop(done: int, total: int) -> None:
        if done == 10:
            cache.marks.stop(OSError(errno.ENOSPC, "full"))

    fill_cache(cache, make, stop)

    assert 10 <= len(make.made) < 3000
    assert len(cache.new_warnings()) == 1
