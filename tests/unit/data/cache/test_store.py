from __future__ import annotations

import os
from pathlib import Path

from tests.helpers.stored_images import image_of, make_list

from classifier_training.data.cache.image_cache import ImageCache
from classifier_training.data.cache.making import make_cache
from classifier_training.data.cache.marks import CacheMarks
from classifier_training.data.cache.store import CacheStore
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
