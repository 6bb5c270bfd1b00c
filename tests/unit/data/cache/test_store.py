from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.stored_images import image_of, make_image_cache, make_list, store_all, valid_positions

from classifier_training.data.cache.image_cache import ImageCache
from classifier_training.data.cache.marks import CacheMarks
from classifier_training.data.cache.store import CacheStore, cache_problem, grow_cache, make_cache, room_of, table_bytes
from classifier_training.data.cache.users import CacheUse


def make_store(folder: Path, ages_in_hours: dict[str, int]) -> CacheStore:
    """A store with an empty cache for each name, last used so long ago; all have the same size."""
    folder.mkdir()
    images = make_list()
    for name, age in ages_in_hours.items():
        make_cache(folder / name, images, images.num_bytes)
        os.utime(folder / name / "meta.json", (1_000_000_000 - 3600 * age, 1_000_000_000 - 3600 * age))
    return CacheStore(folder)


def names(store: CacheStore) -> list[str]:
    return [cache.folder.name for cache in store.stored()]


def size_of_one(store: CacheStore) -> int:
    return store.stored()[0].num_bytes


def test_caches_are_listed_from_the_oldest_use_on(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", {"b": 1, "c": 3, "a": 2})
    (store.folder / "no_meta").mkdir()
    (store.folder / ".new-1").mkdir()
    (store.folder / "file").touch()

    assert names(store) == ["no_meta", "c", "a", "b"]


def test_the_size_is_what_a_cache_may_grow_to(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", {"a": 1})
    images = make_list()
    (cache,) = store.stored()
    assert images.num_bytes < cache.num_bytes < images.num_bytes + 2000
    assert cache.num_bytes == sum(path.stat().st_size for path in cache.folder.iterdir())


def test_the_size_now_grows_with_every_image(tmp_path: Path) -> None:
    images = make_list(sides=(200, 300), short_side=None)
    make_cache(tmp_path / "a", images, images.num_bytes)
    store = CacheStore(tmp_path)
    before = store.num_bytes_now()
    cache = ImageCache(tmp_path / "a", CacheMarks(None, len(images)))

    cache.put(2, image_of(images, 2))

    if os.name != "nt":
        assert before < images.num_bytes
        assert store.num_bytes_now() >= before + image_of(images, 2).nbytes - 8192


def test_the_oldest_go_first_until_the_rest_is_small_enough(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", {"b": 1, "c": 3, "a": 2, "d": 4})
    one = size_of_one(store)

    assert store.remove_unused(4 * one) == []
    assert store.remove_unused(4 * one - 1) == [store.folder / "d"]
    assert store.remove_unused(one) == [store.folder / "c", store.folder / "a"]
    assert store.remove_unused(0, but=store.folder / "b") == []
    assert store.remove_unused(-1) == [store.folder / "b"]
    assert list(store.folder.iterdir()) == []


def test_what_is_not_to_be_removed_is_not_counted(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", {"a": 1, "b": 2})

    assert store.remove_unused(size_of_one(store), but=store.folder / "b") == []
    assert store.remove_unused(size_of_one(store) - 1, but=store.folder / "b") == [store.folder / "a"]


def test_what_a_run_uses_stays(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", {"a": 1, "b": 2})
    one = size_of_one(store)
    use = CacheUse.register(store.folder / "b", 8)

    assert store.num_bytes_in_use(but=store.folder / "a") == one
    assert store.num_bytes_in_use(but=store.folder / "b") == 0
    assert store.remove_unused(0) == [store.folder / "a"]
    use.end()
    assert store.num_bytes_in_use(but=store.folder / "a") == 0
    assert store.remove_unused(0) == [store.folder / "b"]


def test_leftovers_of_a_kill_are_cleaned(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", {"a": 1})
    for name in (".new-12ab", ".old-34cd"):
        (store.folder / name / "users").mkdir(parents=True)
        (store.folder / name / "pixels.bin").write_bytes(bytes(100))

    with store.locked():
        store.clean()

    assert sorted(path.name for path in store.folder.iterdir()) == [".lock", "a"]


def test_a_store_is_made_when_it_is_locked(tmp_path: Path) -> None:
    store = CacheStore(tmp_path / "deep" / "store")

    with store.locked():
        assert store.stored() == []


def test_a_new_cache_is_empty_and_without_fault(tmp_path: Path) -> None:
    images = make_list()

    make_cache(tmp_path / "cache", images, images.num_bytes)

    assert cache_problem(tmp_path / "cache", images) is None
    assert room_of(tmp_path / "cache") == images.num_bytes
    assert valid_positions(ImageCache(tmp_path / "cache", CacheMarks(None, 8)), images) == []
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize("count", [1, 8, 20_000])
def test_the_tables_take_no_more_than_announced(tmp_path: Path, count: int) -> None:
    earlier, images = make_list(count), make_list(count + 1)
    make_cache(tmp_path / "earlier", earlier, earlier.num_bytes)
    make_cache(tmp_path / "cache", images, images.num_bytes, [tmp_path / "earlier"])

    taken = sum(path.stat().st_size for path in (tmp_path / "cache").iterdir())

    assert (tmp_path / "cache" / "sources.bin").exists()
    assert taken - images.num_bytes <= table_bytes(tmp_path / "missing", len(images))
    assert taken - images.num_bytes == table_bytes(tmp_path / "cache", len(images))


def test_of_two_who_make_the_same_cache_the_first_wins(tmp_path: Path) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    store_all(cache, images)

    make_cache(tmp_path / "cache", images, images.num_bytes)

    assert valid_positions(cache, images) == list(range(8))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "marks"]


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")

    with pytest.raises(OSError, match="cache"):
        make_cache(tmp_path / "cache", make_list(), 64)

    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_cache_grows_and_keeps_what_it_has(tmp_path: Path) -> None:
    images = make_list()
    count, room = images.fitting(images.num_bytes // 2)
    cache = make_image_cache(tmp_path, images, room)
    store_all(cache, images)
    assert valid_positions(cache, images) == list(range(count))

    grow_cache(cache.folder, images.num_bytes)
    grow_cache(cache.folder, 64)

    assert room_of(cache.folder) == images.num_bytes
    assert cache_problem(cache.folder, images) is None
    grown = ImageCache(cache.folder, CacheMarks(None, len(images)))
    assert valid_positions(grown, images) == list(range(count))
    store_all(grown, images)
    assert valid_positions(grown, images) == list(range(8))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "its meta.json cannot be read"),
        ("{", "its meta.json cannot be read"),
        ("[]", "its meta.json cannot be read"),
        ("\xff", "its meta.json cannot be read"),
        ("{}", "it is of format None, not 1"),
        ('{"format": 0}', "it is of format 0, not 1"),
        ('{"format": 2, "form": {}}', "it is of format 2, not 1"),
    ],
)
def test_an_older_version_or_an_unreadable_one_is_a_problem(tmp_path: Path, content: str, problem: str) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    (cache.folder / "meta.json").write_text(content, encoding="latin-1")

    assert cache_problem(cache.folder, images) == problem


@pytest.mark.parametrize("name", ["slots.bin", "checks.bin", "pixels.bin"])
@pytest.mark.parametrize("change", [-1, 1, None])
def test_a_file_of_a_wrong_length_is_a_problem(tmp_path: Path, name: str, change: int | None) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    path = cache.folder / name
    if change is None:
        path.unlink()
    else:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size + change)

    problem = cache_problem(cache.folder, images)

    assert problem is not None
    assert problem.startswith(f"its {name} has ")


def test_a_missing_meta_file_is_a_problem(tmp_path: Path) -> None:
    images = make_list()
    cache = make_image_cache(tmp_path, images)
    (cache.folder / "meta.json").unlink()

    assert cache_problem(cache.folder, images) == "its meta.json cannot be read"


# -- the earlier cache that images are taken over from ---------------------------------------------------------


def test_the_first_that_has_some_of_the_images_is_taken(tmp_path: Path) -> None:
    others = {
        "foreign": make_list(seed=1),
        "other_form": make_list(short_side=16),
        "evaluation": make_list(role="evaluation"),
        "right": make_list(5),
        "right_too": make_list(6),
    }
    for name, images in others.items():
        make_cache(tmp_path / name, images, images.num_bytes)
    (tmp_path / "broken").mkdir()
    names = ["missing", "broken", *others]

    make_cache(tmp_path / "cache", make_list(8), 64, [tmp_path / name for name in names])

    assert (tmp_path / "cache" / "earlier.txt").read_text() == "right"
    assert np.fromfile(tmp_path / "cache" / "sources.bin", np.int64).tolist() == [0, 1, 2, 3, 4, -1, -1, -1]


def test_an_earlier_cache_of_another_format_is_not_taken(tmp_path: Path) -> None:
    earlier = make_image_cache(tmp_path, make_list(5))
    meta = json.loads((earlier.folder / "meta.json").read_text())
    (earlier.folder / "meta.json").write_text(json.dumps({**meta, "format": 0}))

    make_cache(tmp_path / "later", make_list(8), 64, [earlier.folder])

    assert not (tmp_path / "later" / "earlier.txt").exists()


def test_an_earlier_cache_with_torn_content_hashes_is_not_taken(tmp_path: Path) -> None:
    earlier = make_image_cache(tmp_path, make_list(5))
    with (earlier.folder / "digests.bin").open("ab") as file:
        file.truncate(79)

    make_cache(tmp_path / "later", make_list(8), 64, [earlier.folder])

    assert not (tmp_path / "later" / "earlier.txt").exists()
