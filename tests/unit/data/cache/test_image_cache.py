from __future__ import annotations

import errno
import os
import pickle
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.helpers.stored_images import image_of, make_image_cache, make_list, store_all, valid_positions

from classifier_training.data.cache.files import CHECKS_FILE, PIXELS_FILE
from classifier_training.data.cache.image_cache import ImageCache, fill_cache
from classifier_training.data.cache.marks import DAMAGED, GOOD, MISFIT, REPAIRED, CacheMarks
from classifier_training.data.cache.slots import ImageList, unpack_sides
from classifier_training.data.cache.store import make_cache
from classifier_training.types import ImageRecord, file_stamp

ALL = list(range(8))


def reopened(cache: ImageCache) -> ImageCache:
    """The same cache as another run opens it, which has verified nothing yet."""
    return ImageCache(cache.folder, CacheMarks(None, len(cache)))


def damage(cache: ImageCache, images: ImageList, position: int) -> None:
    """Changes one byte of a stored image."""
    table = np.concatenate(list(images.slots()))
    with (cache.folder / PIXELS_FILE).open("r+b") as file:
        file.seek(int(table[position, 0]))
        byte = file.read(1)
        file.seek(int(table[position, 0]))
        file.write(bytes([byte[0] ^ 1]))


def test_what_is_put_is_what_is_got(tmp_path: Path) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    assert valid_positions(cache, images) == []

    store_all(cache, images)

    assert valid_positions(cache, images) == ALL
    assert valid_positions(reopened(cache), images) == ALL
    assert cache.num_stored() == len(cache) == len(images)
    assert cache.new_warnings() == []


def test_images_are_views_that_stay_when_the_cache_is_closed_and_removed(tmp_path: Path) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    store_all(cache, images)
    view = cache.get(3)
    assert view is not None
    assert not view.flags.writeable
    assert not view.flags.owndata

    cache.close()
    if os.name != "nt":
        shutil.rmtree(cache.folder)

    np.testing.assert_array_equal(view, image_of(images, 3))


def test_an_image_whose_file_has_changed_is_read_again(tmp_path: Path) -> None:
    """Of very many files nobody looks at each one when a run starts."""
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    store_all(cache, images)
    files = [tmp_path / f"{number}.png" for number in ALL]
    for file in files:
        file.write_bytes(b"before")
    records = [ImageRecord(str(file), stamp=file_stamp(file.stat())) for file in files]
    files[2].write_bytes(b"another length")
    files[5].unlink()

    of_run = reopened(cache)
    of_run.records = records

    assert [position for position in ALL if of_run.get(position) is None] == [2, 5]
    files[3].write_bytes(b"while it runs")  # what was checked once this run holds for all of it
    assert of_run.get(3) is not None
    assert [record.is_unchanged() for record in records[:4]] == [True, True, False, False]


def test_positions_may_be_numpy_integers(tmp_path: Path) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    positions: list[Any] = list(np.arange(len(images)))
    for position in positions:
        cache.put(position, image_of(images, position))

    assert all(cache.get(position) is not None for position in positions)


def test_pixels_of_any_layout_are_stored(tmp_path: Path) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    for position in ALL:
        pixels = image_of(images, position)
        cache.put(position, np.asfortranarray(pixels) if position % 2 else pixels[::-1, ::-1].copy()[::-1, ::-1])

    assert valid_positions(reopened(cache), images) == ALL


def test_a_pickled_cache_is_open_nowhere_and_reads_the_same(tmp_path: Path) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    store_all(cache, images)

    content = pickle.dumps(cache)

    assert len(content) < 1000
    copy = pickle.loads(content)  # noqa: S301 - our own
    assert valid_positions(copy, images) == ALL
    assert copy.marks[0] == GOOD


def test_threads_may_share_one_cache(tmp_path: Path) -> None:
    images = make_list(40)
    cache = make_image_cache(tmp_path, images)
    threads = [threading.Thread(target=store_all, args=(cache, images)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert valid_positions(reopened(cache), images) == list(range(40))


def test_images_that_are_not_stored_are_left_alone(tmp_path: Path) -> None:
    images = make_list()
    images.widths[0], images.heights[0] = 400, 20
    cache = make_image_cache(tmp_path, images)

    cache.put(0, np.zeros((20, 400, 3), np.uint8))

    assert cache.get(0) is None
    assert cache.storable().tolist() == ALL[1:]
    assert cache.new_warnings() == []


def test_a_damaged_image_is_missing_until_it_is_stored_again(tmp_path: Path) -> None:
    images = make_list()
    store_all(make_image_cache(tmp_path, images), images)
    cache = ImageCache(tmp_path / "cache", CacheMarks.create(tmp_path / "new_marks", len(images)))
    damage(cache, images, 2)
    damage(cache, images, 5)

    assert valid_positions(cache, images) == [0, 1, 3, 4, 6, 7]
    assert valid_positions(cache, images) == [0, 1, 3, 4, 6, 7]
    assert cache.marks.positions(DAMAGED).tolist() == [2, 5]
    store_all(cache, images)

    assert valid_positions(cache, images) == ALL
    assert valid_positions(reopened(cache), images) == ALL
    assert cache.marks.positions(REPAIRED).tolist() == [2, 5]
    (warning,) = cache.new_warnings()
    assert warning == f"image cache {cache.folder}: 2 stored image(s) were damaged, and are stored again"
    assert cache.new_warnings() == []


def test_a_damaged_image_that_another_process_repaired_is_read(tmp_path: Path) -> None:
    images = make_list()
    store_all(make_image_cache(tmp_path, images), images)
    cache = ImageCache(tmp_path / "cache", CacheMarks.create(tmp_path / "new_marks", len(images)))
    damage(cache, images, 2)
    assert cache.get(2) is None

    reopened(cache).put(2, image_of(images, 2))

    assert valid_positions(cache, images) == ALL
    assert len(cache.new_warnings()) == 1


def test_workers_marks_reach_the_main_process(tmp_path: Path) -> None:
    images = make_list()
    store_all(make_image_cache(tmp_path, images), images)
    cache = ImageCache(tmp_path / "cache", CacheMarks.create(tmp_path / "new_marks", len(images)))
    worker = pickle.loads(pickle.dumps(cache))  # noqa: S301 - our own
    damage(cache, images, 1)

    assert worker.get(1) is None
    assert "1 stored image(s) were damaged" in cache.new_warnings()[0]
    damage(cache, images, 6)
    assert worker.get(6) is None
    assert "1 stored image(s) were damaged" in cache.new_warnings()[0]


def test_pixels_without_their_checksum_are_missing(tmp_path: Path) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    store_all(cache, images)
    checks = np.fromfile(cache.folder / CHECKS_FILE, np.uint64)
    checks[4] = 0
    checks.tofile(cache.folder / CHECKS_FILE)

    assert valid_positions(reopened(cache), images) == [0, 1, 2, 3, 5, 6, 7]


@pytest.mark.parametrize("name", ["checks.bin", "slots.bin", "pixels.bin"])
def test_garbage_in_any_file_gives_no_wrong_image(tmp_path: Path, name: str) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    store_all(cache, images)
    cache.close()
    path = cache.folder / name
    generator = np.random.default_rng(0)
    for _ in range(20):
        path.write_bytes(generator.bytes(path.stat().st_size))
        damaged = reopened(cache)
        assert valid_positions(damaged, images) == []
        for position in ALL:
            damaged.put(position, image_of(images, position))
            again = damaged.get(position)
            assert again is None or (again == image_of(images, position)).all()


def test_an_image_of_another_size_is_not_stored_and_is_reported(tmp_path: Path) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)

    cache.put(1, np.zeros((5, 5, 3), np.uint8))
    cache.put(2, image_of(images, 2)[..., 0])
    wrong: Any = image_of(images, 3).astype(np.int16)
    cache.put(3, wrong)

    assert valid_positions(cache, images) == []
    assert cache.marks.positions(MISFIT).tolist() == [1, 2, 3]
    (warning,) = cache.new_warnings()
    assert "3 image(s) have another size than when they were listed, and are not stored" in warning


def test_a_read_only_cache_is_read_and_not_written(tmp_path: Path) -> None:
    images = make_list()
    writable = make_image_cache(tmp_path, images)
    writable.put(1, image_of(images, 1))
    cache = ImageCache(writable.folder, CacheMarks(None, len(images)), may_write=False)

    store_all(cache, images)

    assert valid_positions(cache, images) == [1]
    assert cache.new_warnings() == []


def test_after_an_error_all_processes_stop_storing_and_go_on_reading(tmp_path: Path) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    worker = pickle.loads(pickle.dumps(cache))  # noqa: S301 - our own
    worker.put(0, image_of(images, 0))
    (cache.folder / PIXELS_FILE).rename(cache.folder / "gone")
    other_worker = ImageCache(cache.folder, cache.marks)

    other_worker.put(1, image_of(images, 1))
    worker.put(2, image_of(images, 2))

    assert valid_positions(worker, images) == [0]
    assert cache.marks.error == errno.ENOENT
    (warning,) = cache.new_warnings()
    assert f"no more images are stored ({os.strerror(errno.ENOENT)})" in warning
    assert cache.new_warnings() == []


def test_a_cache_that_somebody_removed_holds_nothing(tmp_path: Path) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    shutil.rmtree(cache.folder)

    store_all(cache, images)

    assert valid_positions(cache, images) == []
    assert cache.num_stored() == 0
    assert cache.storable().tolist() == []
    assert len(cache.new_warnings()) == 1


def test_images_behind_the_room_are_not_stored(tmp_path: Path) -> None:
    images = make_list()
    count, room = images.fitting(images.num_bytes // 2)
    cache = make_image_cache(tmp_path, images, room)

    store_all(cache, images)

    assert 0 < count < len(images)
    assert valid_positions(cache, images) == list(range(count)) == cache.storable().tolist()
    assert (cache.folder / PIXELS_FILE).stat().st_size == room
    assert cache.new_warnings() == []


def test_images_of_an_earlier_cache_are_taken_over(tmp_path: Path) -> None:
    earlier_list = make_list(8)
    earlier = make_image_cache(tmp_path, earlier_list)
    for position in (0, 2, 3, 7):
        earlier.put(position, image_of(earlier_list, position))
    damage(earlier, earlier_list, 3)
    order = np.array([7, 3, 1, 0, 5])
    images = ImageList(
        earlier_list.digests[order], earlier_list.widths[order], earlier_list.heights[order], earlier_list.form
    )
    make_cache(tmp_path / "later", images, images.num_bytes, [earlier.folder])
    cache = ImageCache(tmp_path / "later", CacheMarks.create(tmp_path / "later_marks", len(images)))

    assert valid_positions(cache, images) == [0, 3]
    assert cache.num_stored() == 2
    if os.name != "nt":
        shutil.rmtree(earlier.folder)

    assert valid_positions(reopened(cache), images) == [0, 3]
    store_all(cache, images)
    assert valid_positions(cache, images) == [0, 1, 2, 3, 4]
    assert cache.new_warnings() == []


def test_two_caches_that_follow_each_other_do_not_ask_for_ever(tmp_path: Path) -> None:
    first, second = make_list(8), make_list(9)
    for folder, images, others in (("first", first, []), ("second", second, ["first"]), ("first", first, ["second"])):
        shutil.rmtree(tmp_path / folder, ignore_errors=True)
        make_cache(tmp_path / folder, images, images.num_bytes, [tmp_path / other for other in others])

    cache = ImageCache(tmp_path / "first", CacheMarks(None, len(first)))

    assert valid_positions(cache, first) == []


def test_the_helpers_sizes_are_those_of_the_slots() -> None:
    images = make_list()
    table = np.concatenate(list(images.slots()))

    assert [unpack_sides(sides) for sides in table[:-1, 1].tolist()] == [
        image_of(images, position).shape[:2] for position in ALL
    ]


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

    made = fill_cache(reopened(cache), make)

    assert made == 30 - len(broken.made)
    assert sorted([*make.made, *broken.made]) == list(range(30))
    assert valid_positions(cache, images) == list(range(30))


def test_an_image_that_is_damaged_is_stored_again(tmp_path: Path) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    fill_cache(cache, Maker(images))
    content = (cache.folder / PIXELS_FILE).read_bytes()
    damage(cache, images, 0)
    make = Maker(images)

    assert fill_cache(reopened(cache), make) == 1

    assert make.made == [0]
    assert (cache.folder / PIXELS_FILE).read_bytes() == content


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
