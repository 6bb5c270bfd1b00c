from __future__ import annotations

import dataclasses
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.stored_images import image_of, make_list, num_bytes_below, store_all, valid_positions

from classifier_training.data.cache.choice import CacheChoice, choose_cache
from classifier_training.data.cache.image_cache import ImageCache
from classifier_training.data.cache.slots import ImageList
from classifier_training.data.cache.store import table_bytes

ALL = list(range(8))
PICTURES = make_list()
NEEDED = PICTURES.num_bytes + table_bytes(Path("missing"), 8)

Choose = Callable[..., CacheChoice]


@pytest.fixture
def choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Choose]:
    """`choose_cache` with folders of the test, and closing at the end."""
    for name in ("shm", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    choices: list[CacheChoice] = []

    def call(images: ImageList = PICTURES, *arguments: Any, **options: Any) -> CacheChoice:
        options = {"root": tmp_path / "root", "shared_memory": tmp_path / "shm", **options}
        choices.append(choose_cache(images, options.pop("root"), *arguments, **options))
        return choices[-1]

    yield call
    for choice in choices:
        choice.close()


def cache_of(choice: CacheChoice) -> ImageCache:
    assert choice.cache is not None, choice.message
    return choice.cache


def filled(choice: CacheChoice, images: ImageList = PICTURES) -> CacheChoice:
    store_all(cache_of(choice), images)
    return choice


def folders(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir() if path.is_dir())


# -- where -------------------------------------------------------------------------------------------------------


def test_what_fits_is_kept_on_the_disk_and_found_again(choose: Choose, tmp_path: Path) -> None:
    first = choose()
    folder = tmp_path / "root" / "pictures" / PICTURES.key
    assert first.kind == "disk"
    assert first.message == f"image cache (train): disk, 37 kB in {folder} (filled while images are read)"
    for position in (0, 5):
        cache_of(first).put(position, image_of(PICTURES, position))
    first.close()

    second = choose()
    assert second.message.endswith("(25% filled)")
    assert valid_positions(cache_of(second), PICTURES) == [0, 5]
    filled(second).close()

    third = choose(PICTURES, "disk")
    assert third.message.endswith("(already filled)")
    assert valid_positions(cache_of(third), PICTURES) == ALL
    assert [choice.warnings for choice in (first, second, third)] == [(), (), ()]


def test_what_does_not_fit_on_the_disk_goes_into_memory(choose: Choose, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file instead of the folder")

    choice = filled(choose())

    assert choice.kind == "memory"
    assert cache_of(choice).folder.is_relative_to(tmp_path / "shm")
    assert choice.message.startswith("image cache (train): memory, 37 kB in ")
    assert valid_positions(cache_of(choice), PICTURES) == ALL


def test_what_fits_nowhere_is_not_kept(choose: Choose, tmp_path: Path) -> None:
    choice = choose(limit=NEEDED // 2)

    assert (choice.kind, choice.cache) == ("none", None)
    assert choice.message == (
        "image cache (train): none; disk: 39 kB needed, 19 kB allowed (data.cache_limit);"
        " memory: 39 kB needed, 19 kB allowed (data.cache_limit)"
    )
    assert folders(tmp_path / "root" / "pictures") == []


def test_auto_without_shared_memory_does_not_fill_the_temporary_folder(choose: Choose, tmp_path: Path) -> None:
    choice = choose(limit=NEEDED - 1, shared_memory=tmp_path / "missing")

    assert choice.kind == "none"
    assert "memory" not in choice.message
    assert list((tmp_path / "temporary").iterdir()) == []


def test_none_keeps_nothing(choose: Choose, tmp_path: Path) -> None:
    choice = choose(PICTURES, "none")

    assert (choice.kind, choice.cache) == ("none", None)
    assert choice.message == "image cache (train): none, data.cache=none"
    assert not (tmp_path / "root").exists()
    choice.close()


@pytest.mark.parametrize("setting", ["auto", "disk", "memory"])
def test_without_any_image_there_is_no_cache(choose: Choose, setting: str) -> None:
    empty, unstored = make_list(0), make_list(2)
    unstored.widths[:] = 0

    for images in (empty, unstored):
        choice = choose(images, setting)
        assert (choice.kind, choice.cache) == ("none", None)
        assert choice.message.endswith("none, no image to keep")


def test_the_form_decides_what_is_shared(choose: Choose) -> None:
    lists = [PICTURES, make_list(role="evaluation"), make_list(short_side=None), make_list(seed=1)]

    caches = [cache_of(filled(choose(images), images)) for images in lists]

    assert len({cache.folder for cache in caches}) == len(lists)
    for cache, images in zip(caches, lists, strict=True):
        assert valid_positions(cache, images) == ALL


# -- what does not fit -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["disk", "memory"])
def test_as_many_as_fit_are_kept_if_asked_for(choose: Choose, tmp_path: Path, setting: str) -> None:
    limit = NEEDED * 2 // 3

    choice = filled(choose(PICTURES, setting, limit))

    kept = valid_positions(cache_of(choice), PICTURES)
    assert 0 < len(kept) < 8
    assert kept == list(range(len(kept)))
    assert f"; the first {len(kept)} of 8 images: 39 kB needed, 26 kB allowed (data.cache_limit)" in choice.message
    store = cache_of(choice).folder.parent
    assert num_bytes_below(store) <= limit
    assert cache_of(choice).new_warnings() == []


def test_a_limit_that_is_too_small_for_one_image_keeps_none(choose: Choose) -> None:
    choice = choose(PICTURES, "disk", table_bytes(Path("missing"), 8) + 63)

    assert (choice.kind, choice.cache) == ("none", None)
    assert "disk: 39 kB needed" in choice.message


def test_a_higher_limit_keeps_what_is_stored(choose: Choose) -> None:
    small = filled(choose(PICTURES, "disk", NEEDED * 2 // 3))
    kept = valid_positions(cache_of(small), PICTURES)
    small.close()

    large = choose(PICTURES, "disk", NEEDED)

    assert valid_positions(cache_of(large), PICTURES) == kept
    assert valid_positions(cache_of(filled(large)), PICTURES) == ALL
    assert large.warnings == ()


def test_a_lower_limit_is_kept_too(choose: Choose, tmp_path: Path) -> None:
    filled(choose()).close()
    limit = NEEDED * 2 // 3

    choice = filled(choose(PICTURES, "disk", limit))

    assert "1 older cache(s) removed" in choice.message
    assert num_bytes_below(tmp_path / "root" / "pictures") <= limit
    assert 0 < len(valid_positions(cache_of(choice), PICTURES)) < 8


def test_a_lower_limit_takes_nothing_away_from_a_running_run(choose: Choose) -> None:
    running = filled(choose())

    choice = choose(PICTURES, "disk", NEEDED * 2 // 3)

    assert valid_positions(cache_of(choice), PICTURES) == ALL
    assert valid_positions(cache_of(running), PICTURES) == ALL


def test_a_lower_limit_removes_what_auto_does_not_use(choose: Choose, tmp_path: Path) -> None:
    filled(choose()).close()

    assert choose(limit=NEEDED // 2).kind == "none"

    assert num_bytes_below(tmp_path / "root") == 0


# -- all caches together -----------------------------------------------------------------------------------------


def test_the_caches_used_longest_ago_make_room(choose: Choose, tmp_path: Path) -> None:
    lists = [make_list(seed=seed) for seed in range(4)]
    limit = sum(images.num_bytes + table_bytes(Path("missing"), 8) for images in lists)
    for age, images in enumerate(lists[:3]):
        choice = filled(choose(images, limit=limit), images)
        choice.close()
        os.utime(cache_of(choice).folder / "meta.json", (1_000_000_000 + age, 1_000_000_000 + age))
    filled(choose(lists[0], limit=limit), lists[0]).close()  # used again

    choice = filled(choose(lists[3], limit=limit - lists[1].num_bytes), lists[3])

    assert "; 1 older cache(s) removed" in choice.message
    assert folders(tmp_path / "root" / "pictures") == sorted(lists[number].key for number in (0, 2, 3))
    assert num_bytes_below(tmp_path / "root") <= limit - lists[1].num_bytes


def test_what_another_run_uses_is_not_removed_and_counts(choose: Choose, tmp_path: Path) -> None:
    other = make_list(seed=1)
    running = filled(choose(other), other)

    choice = choose(limit=NEEDED + other.num_bytes // 2)

    assert choice.kind == "memory"
    assert valid_positions(cache_of(running), other) == ALL
    running.close()
    assert choose(limit=NEEDED + other.num_bytes // 2).kind == "disk"
    assert folders(tmp_path / "root" / "pictures") == [PICTURES.key]


def test_what_a_kill_left_behind_is_cleaned(choose: Choose, tmp_path: Path) -> None:
    store = tmp_path / "root" / "pictures"
    for name in (".new-0", ".old-0"):
        (store / name).mkdir(parents=True)
        (store / name / "pixels.bin").write_bytes(bytes(1000))

    choose()

    assert folders(store) == [PICTURES.key]


# -- what is broken ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["auto", "disk", "memory"])
@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("meta.json", b'{"format": 0}', "it is of format 0, not 1"),
        ("meta.json", b"\0\0\0", "its meta.json cannot be read"),
        ("slots.bin", b"", "its slots.bin has 0 bytes, not 144"),
        ("checks.bin", b"1234", "its checks.bin has 4 bytes, not 64"),
        ("pixels.bin", b"1234", "its pixels.bin has 4 bytes, which is not the end of an image"),
    ],
)
def test_a_broken_cache_is_rebuilt_with_a_warning(
    choose: Choose, setting: str, name: str, content: bytes, problem: str
) -> None:
    kept_open = filled(choose(PICTURES, setting))  # one in memory would be gone
    folder = cache_of(kept_open).folder
    if os.name != "nt":
        (folder / name).unlink()
    (folder / name).write_bytes(content)

    choice = choose(PICTURES, setting)

    assert choice.warnings == (f"image cache (train) in {folder} is rebuilt: {problem}",)
    assert choice.message.endswith("(filled while images are read)")
    assert valid_positions(cache_of(filled(choice)), PICTURES) == ALL


def test_missing_files_are_rebuilt(choose: Choose) -> None:
    folder = cache_of(filled(choose())).folder
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()

    choice = choose()

    assert len(choice.warnings) == 1
    assert valid_positions(cache_of(filled(choice)), PICTURES) == ALL


# -- what cannot be written --------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_the_way", ["root", "root/pictures"])
def test_a_file_instead_of_the_folder_is_reported(choose: Choose, tmp_path: Path, in_the_way: str) -> None:
    (tmp_path / in_the_way).parent.mkdir(exist_ok=True)
    (tmp_path / in_the_way).write_text("")

    choice = choose(PICTURES, "disk")

    assert (choice.kind, choice.cache) == ("none", None)
    assert re.fullmatch(
        rf"image cache \(train\): none; disk: {re.escape(str(tmp_path))}/root/pictures cannot be written \(.+\)",
        choice.message.replace(os.sep, "/"),
    )


# -- memory ------------------------------------------------------------------------------------------------------


def test_memory_is_given_back_by_the_last_run_that_uses_it(choose: Choose, tmp_path: Path) -> None:
    first, second = filled(choose(PICTURES, "memory")), choose(PICTURES, "memory")
    folder = cache_of(first).folder
    assert second.message.endswith("(already filled)")

    first.close()
    assert valid_positions(cache_of(second), PICTURES) == ALL
    second.close()

    assert not folder.exists()
    assert num_bytes_below(tmp_path / "shm") == 0


def test_the_disk_is_not_given_back(choose: Choose) -> None:
    choice = filled(choose(PICTURES, "disk"))

    choice.close()

    assert cache_of(choice).folder.exists()


def test_without_shared_memory_it_is_the_temporary_folder_with_a_note(choose: Choose, tmp_path: Path) -> None:
    choice = filled(choose(PICTURES, "memory", shared_memory=tmp_path / "missing"))

    assert choice.kind == "disk"
    assert choice.message.endswith("; this system has no shared memory, so the temporary folder is used")
    folder = cache_of(choice).folder
    assert folder.is_relative_to(tmp_path / "temporary")
    choice.close()
    assert not folder.exists()


@pytest.mark.parametrize("setting", ["none", "disk"])
def test_memory_that_nobody_uses_any_more_goes_at_the_next_start(choose: Choose, tmp_path: Path, setting: str) -> None:
    choice = filled(choose(PICTURES, "memory"))
    folder, copy = cache_of(choice).folder, tmp_path / "copy"
    shutil.copytree(folder, copy)
    choice.close()
    shutil.copytree(copy, folder)  # as a run leaves it that is killed

    choose(make_list(seed=5), setting)

    assert not folder.exists()


def test_memory_of_a_killed_run_serves_the_next_one(choose: Choose, tmp_path: Path) -> None:
    choice = filled(choose(PICTURES, "memory"))
    folder, copy = cache_of(choice).folder, tmp_path / "copy"
    shutil.copytree(folder, copy)
    choice.close()
    shutil.copytree(copy, folder)

    again = choose(PICTURES, "memory")

    assert again.message.endswith("(already filled)")
    assert valid_positions(cache_of(again), PICTURES) == ALL


# -- other lists of the same images ----------------------------------------------------------------------------


def test_a_changed_photo_costs_one_image(choose: Choose) -> None:
    filled(choose()).close()
    digests = PICTURES.digests.copy()
    digests[3] = 0
    changed = dataclasses.replace(PICTURES, digests=digests)

    choice = choose(changed)

    assert valid_positions(cache_of(choice), changed) == [0, 1, 2, 4, 5, 6, 7]
    assert cache_of(choice).num_stored() == 7


def test_the_columns_of_the_images_are_not_kept(choose: Choose) -> None:
    images = make_list(20_000, sides=(2, 9))
    choice = choose(images)

    assert len(pickle.dumps(choice)) < 2000


def test_a_pickled_choice_reads_and_ends_nothing(choose: Choose) -> None:
    choice = filled(choose(PICTURES, "memory"))
    copy = pickle.loads(pickle.dumps(choice))  # noqa: S301 - our own

    assert valid_positions(cache_of(copy), PICTURES) == ALL
    copy.close()

    assert cache_of(choice).folder.exists()
