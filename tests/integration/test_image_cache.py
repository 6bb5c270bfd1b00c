"""Image caches under real conditions: processes that fill one at once, are killed, have no room, may not write."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.helpers.cli import ENVIRONMENT
from tests.helpers.stored_images import image_of, make_list, store_all, valid_positions

from classifier_training.data.cache.choice import CacheChoice, CacheSetting, choose_cache
from classifier_training.data.cache.slots import ImageList

ROOT = Path(__file__).parents[2]
COUNT = 60


class Filling:
    """A process that fills a cache and says what it does.

    Args:
        process: It.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def read_to(self, last: str) -> list[str]:
        """What it says up to a line."""
        lines = [self.line()]
        while lines[-1] != last:
            assert lines[-1], f"it ended with {self.process.wait()}"
            lines.append(self.line())
        return lines

    def finish(self) -> int:
        """Lets it end, and gives its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait()


Start = Callable[..., Filling]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process that fills the cache of the test."""
    (tmp_path / "shm").mkdir()
    with contextlib.ExitStack() as stack:

        def run(setting: str = "disk", *, seed: int = 0, limit: int | None = None, root: Path | None = None) -> Filling:
            words = [
                root or tmp_path / "root",
                tmp_path / "shm",
                setting,
                COUNT,
                seed,
                *([] if limit is None else [limit]),
            ]
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.helpers.cache_process", *map(str, words)],
                cwd=ROOT,
                env={**ENVIRONMENT, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return Filling(process)

        yield run


@pytest.fixture
def images() -> ImageList:
    return make_list(COUNT, short_side=128, sides=(100, 300))


@contextlib.contextmanager
def opened(
    images: ImageList,
    tmp_path: Path,
    setting: CacheSetting = "disk",
    root: Path | None = None,
    limit: int | None = None,
) -> Iterator[CacheChoice]:
    """The cache of the test, or one somewhere else."""
    choice = choose_cache(images, root or tmp_path / "root", setting, limit, shared_memory=tmp_path / "shm")
    try:
        yield choice
    finally:
        choice.close()


def kept(choice: CacheChoice, images: ImageList) -> list[int]:
    """The positions that a cache gives, each one compared with what it should be."""
    return [] if choice.cache is None else valid_positions(choice.cache, images)


# -- many at once ------------------------------------------------------------------------------------------------


def test_processes_that_fill_one_cache_at_once_agree(start: Start, tmp_path: Path, images: ImageList) -> None:
    fillings = [start(seed=seed) for seed in range(4)]

    said = [filling.read_to("done") for filling in fillings]

    assert all(lines[0] == "open disk" for lines in said)
    assert not [line for lines in said for line in lines if line.startswith("warning")]
    assert [filling.finish() for filling in fillings] == [0, 0, 0, 0]
    with opened(images, tmp_path) as choice:
        assert choice.message.endswith("(already filled)")
        assert kept(choice, images) == list(range(COUNT))
    assert sorted(path.name for path in (tmp_path / "root" / "pictures").iterdir()) == [".lock", images.key]


# -- killed ------------------------------------------------------------------------------------------------------


def test_a_filling_that_is_killed_again_and_again_leaves_only_valid_images(
    start: Start, tmp_path: Path, images: ImageList
) -> None:
    generator, found = random.Random(0), 0
    for _ in range(COUNT):
        filling = start(seed=generator.randrange(1000))
        for _ in range(generator.randrange(1, 16)):
            if filling.line() == "done":
                break
        filling.process.kill()
        filling.process.wait()
        with opened(images, tmp_path) as choice:
            now = len(kept(choice, images))
            assert choice.warnings == ()
            assert now >= found
            found = now
        if found == COUNT:
            break

    assert found == COUNT


def test_a_process_that_is_killed_while_it_makes_the_cache_leaves_nothing_that_hinders(
    start: Start, tmp_path: Path, images: ImageList
) -> None:
    for _ in range(3):
        filling = start()
        while not (tmp_path / "root" / "pictures").exists():
            assert filling.process.poll() is None
        filling.process.kill()
        filling.process.wait()
        shutil.rmtree(tmp_path / "root" / "pictures" / images.key, ignore_errors=True)

    filling = start()
    filling.read_to("done")

    assert filling.finish() == 0
    with opened(images, tmp_path) as choice:
        assert kept(choice, images) == list(range(COUNT))
    assert sorted(path.name for path in (tmp_path / "root" / "pictures").iterdir()) == [".lock", images.key]


def test_memory_of_a_killed_run_goes_at_the_next_start(start: Start, tmp_path: Path) -> None:
    killed, alive = start("memory"), start("memory")
    assert killed.read_to("done")[0] == "open memory"
    alive.read_to("done")
    (own,) = (tmp_path / "shm").iterdir()
    store, other = own / "pictures", make_list(4, seed=9)

    killed.process.kill()
    killed.process.wait()
    with opened(other, tmp_path, "none"):
        assert len([path for path in store.iterdir() if path.is_dir()]) == 1  # the other run still uses it

    alive.process.kill()
    alive.process.wait()
    with opened(other, tmp_path, "none"):
        assert [path for path in store.iterdir() if path.is_dir()] == []


def test_memory_goes_when_the_run_ends(start: Start, tmp_path: Path) -> None:
    filling = start("memory")
    filling.read_to("done")
    assert list(tmp_path.glob("shm/*/pictures/*/pixels.bin"))

    assert filling.finish() == 0

    assert [path.name for path in tmp_path.glob("shm/*/pictures/*")] == [".lock"]


def test_a_cache_that_a_process_uses_is_not_removed(start: Start, tmp_path: Path, images: ImageList) -> None:
    filling, other = start(), make_list(COUNT, seed=9, short_side=128, sides=(100, 300))
    filling.read_to("done")
    root = tmp_path / "root"
    limit = max(images.num_bytes, other.num_bytes) * 3 // 2

    refused = choose_cache(other, root, "auto", limit, shared_memory=tmp_path / "missing")
    assert refused.kind == "none"
    assert (root / "pictures" / images.key).exists()
    filling.process.kill()
    filling.process.wait()
    choice = choose_cache(other, root, "auto", limit, shared_memory=tmp_path / "missing")

    assert choice.kind == "disk"
    assert not (root / "pictures" / images.key).exists()
    choice.close()


# -- no room -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_write_that_fails_in_the_middle_of_an_image_ends_the_filling(
    start: Start, tmp_path: Path, images: ImageList, share: float
) -> None:
    filling = start(limit=int(images.num_bytes * share))

    said = filling.read_to("done")

    (warning,) = [line for line in said if line.startswith("warning")]
    assert "no more images are stored (File too large)" in warning
    assert filling.finish() == 0
    with opened(images, tmp_path) as choice:
        before = kept(choice, images)
        assert 0 < len(before) < COUNT
        assert choice.cache is not None
        assert choice.cache.new_warnings() == []
        store_all(choice.cache, images)
        assert kept(choice, images) == list(range(COUNT))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root of a Linux system can mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_fills_up_ends_the_filling(small_disk: Path, tmp_path: Path, images: ImageList) -> None:
    root, limit = small_disk / "root", 5_000_000
    assert images.num_bytes < limit
    with opened(images, tmp_path, root=root, limit=limit) as choice:
        assert choice.cache is not None
        (small_disk / "of_somebody_else").write_bytes(bytes(6_000_000))
        worker = pickle.loads(pickle.dumps(choice.cache))  # noqa: S301 - our own
        store_all(worker, images)

        stored = kept(choice, images)
        assert 0 < len(stored) < COUNT
        (warning,) = choice.cache.new_warnings()
        assert f"no more images are stored (No space left on device); {len(stored)} of {COUNT} are stored" in warning

    (small_disk / "of_somebody_else").unlink()
    with opened(images, tmp_path, root=root, limit=limit) as choice:
        assert choice.cache is not None
        assert kept(choice, images) == stored
        store_all(choice.cache, images)
        assert kept(choice, images) == list(range(COUNT))


def test_a_filled_cache_on_a_disk_that_became_full_is_read(small_disk: Path, tmp_path: Path, images: ImageList) -> None:
    root = small_disk / "root"
    with opened(images, tmp_path, root=root, limit=5_000_000) as choice:
        assert choice.cache is not None
        store_all(choice.cache, images)
    fill_up(small_disk)

    with opened(images, tmp_path, "auto", root, limit=5_000_000) as choice:
        assert choice.kind == "disk", choice.message
        assert kept(choice, images) == list(range(COUNT))


@pytest.mark.parametrize(("setting", "kind"), [("disk", "none"), ("auto", "memory")])
def test_a_disk_that_is_full_from_the_start_is_not_an_error(
    small_disk: Path, tmp_path: Path, images: ImageList, setting: CacheSetting, kind: str
) -> None:
    (tmp_path / "shm").mkdir()
    fill_up(small_disk)

    with opened(images, tmp_path, setting, small_disk / "root") as choice:
        assert choice.kind == kind, choice.message
        if setting == "disk":
            assert "disk: " in choice.message


def fill_up(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "of_somebody_else").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


# -- read-only ---------------------------------------------------------------------------------------------------


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Makes a folder read-only for this process."""
    mounted: list[Path] = []

    def protect(folder: Path) -> None:
        if os.geteuid() != 0:
            for path in [folder, *folder.rglob("*")]:
                path.chmod(path.stat().st_mode & 0o555)
            return
        bind = ["mount", "--bind", str(folder), str(folder)]
        if sys.platform != "linux" or subprocess.run(bind, check=False).returncode:
            pytest.skip("root may write everywhere, and nothing can be mounted here")
        mounted.append(folder)
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)

    yield protect
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)
    for path in [tmp_path, *tmp_path.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o700)


def test_a_read_only_folder_is_used_if_it_holds_something(
    read_only: Callable[[Path], None], tmp_path: Path, images: ImageList
) -> None:
    with opened(images, tmp_path) as choice:
        assert choice.cache is not None
        for position in (3, 5):
            choice.cache.put(position, image_of(images, position))
    read_only(tmp_path / "root")

    with opened(images, tmp_path, "auto") as choice:
        assert choice.kind == "disk"
        assert "(3% filled); read-only: " in choice.message
        assert choice.cache is not None
        store_all(choice.cache, images)
        assert kept(choice, images) == [3, 5]
        assert choice.cache.new_warnings() == []


def test_a_read_only_folder_that_is_empty_is_not_used_and_that_is_reported(
    read_only: Callable[[Path], None], tmp_path: Path, images: ImageList
) -> None:
    with opened(images, tmp_path):
        pass
    read_only(tmp_path / "root")

    for one in (images, make_list(4, seed=9)):
        with opened(one, tmp_path, "disk") as choice:
            assert choice.kind == "none"
            assert f"disk: {tmp_path}/root/pictures cannot be written (" in choice.message


def test_damage_in_a_read_only_folder_is_reported(
    read_only: Callable[[Path], None], tmp_path: Path, images: ImageList
) -> None:
    with opened(images, tmp_path) as choice:
        assert choice.cache is not None
        store_all(choice.cache, images)
        pixels = choice.cache.folder / "pixels.bin"
    with pixels.open("r+b") as file:
        file.write(bytes(100))
    read_only(tmp_path / "root")

    with opened(images, tmp_path) as choice:
        assert choice.cache is not None
        worker = pickle.loads(pickle.dumps(choice.cache))  # noqa: S301 - our own
        assert valid_positions(worker, images) == list(range(1, COUNT))
        assert "1 stored image(s) were damaged" in choice.cache.new_warnings()[0]
