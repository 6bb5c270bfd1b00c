from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.helpers.photos import make_split_photos
from tests.helpers.shards import write_hub_parquet

from classifier_training.config.schema import Config, DataConfig
from classifier_training.data.cache.caches import open_caches
from classifier_training.data.cache.live import note_use, used_since
from classifier_training.data.cache.upkeep import bound_copies, cache_entries, photos_of, remove_entries
from classifier_training.data.photos import load_photos
from classifier_training.evaluation.photos import ImageSelector
from classifier_training.types import Preprocessing

IN_A_PROCESS = """
import sys
from pathlib import Path
from classifier_training.config.schema import DataConfig
from classifier_training.data.photos import load_photos
load_photos(DataConfig(root=sys.argv[1], cache_dir=sys.argv[2]), 0)
if len(sys.argv) > 3:
    print("ready", flush=True)
    sys.stdin.read()
"""
SOURCE = str(Path(__file__).parents[4] / "src")


def command(root: Path, cache: Path, *more: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {SOURCE!r})\n{IN_A_PROCESS}", root, cache, *more]  # type: ignore[list-item]  # paths


def make_parquet(root: Path, first: int = 0) -> Path:
    for split in ("train", "val"):
        write_hub_parquet(root / f"{split}-0.parquet", ["cat", "dog"] * 2, first=first + 10 * (split == "val"))
    return root


def age(path: Path, days: float) -> None:
    then = time.time() - days * 86_400
    os.utime(path, (then, then))


def kinds(cache: Path) -> list[str]:
    return sorted(entry.kind for entry in cache_entries(cache))


def test_what_the_folder_holds_of_which_photos_and_since_when(tmp_path: Path) -> None:
    cache, folder, packed = tmp_path / "cache", make_split_photos(tmp_path / "photos"), make_parquet(tmp_path / "set")
    subprocess.run(command(packed, cache), check=True)
    config = DataConfig(root=str(folder), cache="disk", cache_dir=str(cache))
    with open_caches_of(config) as _:
        entries = cache_entries(cache)

    photos = photos_of(cache)
    assert sorted(entry.kind for entry in entries) == ["images", "images", "index", "index", "unpacked", "unpacked"]
    assert {(entry.kind, photos[entry.path]) for entry in entries} == {
        ("images", str(folder)), ("index", str(folder)), ("index", str(packed)), ("unpacked", str(packed)),
    }  # fmt: skip
    assert all(entry.num_bytes > 0 and time.time() - 600 < entry.used_at <= time.time() for entry in entries)


class open_caches_of:  # noqa: N801 - reads as a function
    """Opens the image caches of photos for a block."""

    def __init__(self, config: DataConfig) -> None:
        self.caches = open_caches(load_photos(config, 0), config, Preprocessing(image_size=32))

    def __enter__(self) -> None:
        """They are open."""

    def __exit__(self, *error: object) -> None:
        self.caches.close()


def test_copies_that_no_index_knows_are_of_their_file(tmp_path: Path) -> None:
    for folder, name in (("unpacked/a", "train-0.pictures"), ("unpacked/b", "b.pictures"), ("remote/c", "t.csv")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).write_bytes(b"")
    (tmp_path / "unpacked" / "b" / "photos.txt").write_text("/data/b.parquet\n")
    (tmp_path / "unpacked" / "empty").mkdir()

    assert photos_of(tmp_path) == {
        tmp_path / "unpacked" / "a": "train-0.parquet",
        tmp_path / "unpacked" / "b": "/data/b.parquet",
        tmp_path / "remote" / "c": "t.csv",
    }


def test_what_a_running_process_uses_is_not_removed(tmp_path: Path) -> None:
    cache, mine, old = tmp_path / "cache", make_parquet(tmp_path / "mine"), make_parquet(tmp_path / "old", 100)
    subprocess.run(command(old, cache), check=True)
    for entry in cache_entries(cache):
        age(entry.path, 3)
    with subprocess.Popen(command(mine, cache, "wait"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

        removed = remove_entries(cache, cache_entries(cache))

        assert sorted(entry.kind for entry in removed) == ["index", "unpacked", "unpacked"]
        assert kinds(cache) == ["index", "unpacked", "unpacked"]
        assert all(entry.is_used for entry in cache_entries(cache))
        process.communicate(b"")

    assert used_since(cache) is None
    assert len(remove_entries(cache, cache_entries(cache))) == 3
    assert kinds(cache) == []
    load_photos(DataConfig(root=str(mine), cache_dir=str(tmp_path / "other")), 0)  # what is removed can be made again


def test_the_lock_of_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    root = make_parquet(tmp_path / "set")
    with subprocess.Popen(command(root, cache, "wait"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert used_since(cache) is not None
        process.kill()

    assert used_since(cache) is None
    assert not list((cache / "users").iterdir())


def test_what_was_used_longest_ago_goes_first_until_the_rest_fits(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    roots = [make_parquet(tmp_path / name, 100 * number) for number, name in enumerate("abc")]
    for root in roots:
        subprocess.run(command(root, cache), check=True)
    photos = photos_of(cache)
    for entry in cache_entries(cache):
        age(entry.path, 9 - [str(root) for root in roots].index(photos[entry.path]))
    total = sum(entry.num_bytes for entry in cache_entries(cache))

    assert bound_copies(cache, total) == []
    assert bound_copies(cache, None) == []
    removed = bound_copies(cache, total - 1)

    assert len(removed) == 1
    assert photos[removed[0].path] == str(roots[0])
    bound_copies(cache, 0)
    assert kinds(cache) == []


def test_a_new_index_makes_room_and_keeps_what_it_needs(tmp_path: Path) -> None:
    cache, old, new = tmp_path / "cache", make_parquet(tmp_path / "old"), make_parquet(tmp_path / "new", 100)
    subprocess.run(command(old, cache), check=True)
    for entry in cache_entries(cache):
        age(entry.path, 2)

    found = load_photos(DataConfig(root=str(new), cache_dir=str(cache), copies_limit="1kB"), 0)

    assert set(photos_of(cache).values()) == {str(new)}
    assert [sample.image.read()[:4] for sample in found.samples("train")] == [b"\x89PNG"] * 4


def test_a_lower_limit_holds_where_the_index_is_reused_too(tmp_path: Path) -> None:
    cache, old, folder = tmp_path / "cache", make_parquet(tmp_path / "old"), make_split_photos(tmp_path / "photos")
    subprocess.run(command(folder, cache), check=True)
    subprocess.run(command(old, cache), check=True)
    for entry in cache_entries(cache):
        age(entry.path, 2)
    made_at = load_photos(DataConfig(root=str(folder), cache_dir=str(cache)), 0).index.metadata["made_at_ns"]
    assert set(photos_of(cache).values()) == {str(folder), str(old)}

    found = load_photos(DataConfig(root=str(folder), cache_dir=str(cache), copies_limit="1kB"), 0)

    assert found.index.metadata["made_at_ns"] == made_at
    assert set(photos_of(cache).values()) == {str(folder)}


def test_an_evaluation_makes_room_for_what_it_unpacks(tmp_path: Path) -> None:
    cache, old, new = tmp_path / "cache", make_parquet(tmp_path / "old"), make_parquet(tmp_path / "new", 100)
    subprocess.run(command(old, cache), check=True)
    for entry in cache_entries(cache):
        age(entry.path, 2)
    config = Config.model_validate({"data": {"cache_dir": str(cache), "copies_limit": "1kB"}})

    found = ImageSelector(None, new, config, "val")(("cat", "dog"))

    assert kinds(cache) == ["unpacked", "unpacked"]  # of the new folder; the index and the images of the old are gone
    assert {Path(record.path).parent for record in found.records or ()} < {entry.path for entry in cache_entries(cache)}


def test_other_files_are_not_noted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    age(tmp_path / "file", 5)
    before = (tmp_path / "file").stat().st_mtime_ns

    note_use(tmp_path / "file", tmp_path / "cache")

    assert (tmp_path / "file").stat().st_mtime_ns == before
    assert not (tmp_path / "cache").exists()
