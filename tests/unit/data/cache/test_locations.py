from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil
import pytest
from tests.helpers.stored_images import make_list

from classifier_training.data.cache.locations import (
    available_memory,
    disk_budget,
    disk_location,
    memory_budget,
    memory_location,
    remove_abandoned,
    temporary_location,
)
from classifier_training.data.cache.store import make_cache
from classifier_training.data.cache.users import CacheUse

TB = 10**12


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_the_disk_keeps_its_caches(tmp_path: Path) -> None:
    location = disk_location(tmp_path / "root", 1000, is_chosen=False)

    with location.locked():
        assert location.budget(0).num_bytes == 1000
    assert location.kind == "disk"
    assert not location.is_temporary
    assert location.store.folder == tmp_path / "root" / "pictures"


def test_memory_is_private_and_goes(tmp_path: Path) -> None:
    (tmp_path / "shm").mkdir()
    location = memory_location(1000, tmp_path / "shm")
    assert location is not None

    with location.locked():
        assert location.budget(0).num_bytes == 1000
    assert location.is_temporary
    (own,) = (tmp_path / "shm").iterdir()
    assert location.store.folder == own / "pictures"
    if os.name != "nt":
        assert own.stat().st_mode & 0o777 == 0o700


def test_a_system_without_shared_memory_has_the_temporary_folder(tmp_path: Path, temporary_folder: Path) -> None:
    assert memory_location(None, tmp_path / "missing") is None
    location = temporary_location(None)

    with location.locked():
        assert location.budget(0).num_bytes <= 0.5 * shutil.disk_usage(tmp_path).total
    assert location.kind == "disk"
    assert location.is_temporary
    assert "no shared memory" in location.note
    assert location.store.folder.is_relative_to(temporary_folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_somebody_else_made_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "shm").mkdir()
    location = memory_location(None, tmp_path / "shm")
    assert location is not None
    location.store.folder.parent.mkdir()
    os.chown(location.store.folder.parent, 65_534, 65_534)

    with pytest.raises(PermissionError, match="another user"), location.locked():
        pass
    remove_abandoned(tmp_path / "shm")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_a_link_instead_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "shm").mkdir()
    (tmp_path / "target").mkdir()
    location = memory_location(None, tmp_path / "shm")
    assert location is not None
    location.store.folder.parent.symlink_to(tmp_path / "target")

    with pytest.raises(PermissionError, match="another user"), location.locked():
        pass
    assert list((tmp_path / "target").iterdir()) == []


def test_what_killed_runs_left_in_memory_is_removed(tmp_path: Path) -> None:
    (tmp_path / "shm").mkdir()
    images = make_list()
    locations = [memory_location(None, tmp_path / "shm"), temporary_location(None)]
    uses = []
    for location in locations:
        assert location is not None
        with location.locked():
            for name in ("abandoned", "used", ".new-1"):
                make_cache(location.store.folder / name, images, images.num_bytes)
            uses.append(CacheUse.register(location.store.folder / "used", len(images)))

    remove_abandoned(tmp_path / "shm")

    for location in locations:
        assert location is not None
        assert sorted(path.name for path in location.store.folder.iterdir()) == [".lock", "used"]
    for use in uses:
        use.end()


def test_nothing_is_made_where_nothing_was_left(tmp_path: Path, temporary_folder: Path) -> None:
    (tmp_path / "shm").mkdir()

    remove_abandoned(tmp_path / "shm")
    remove_abandoned(tmp_path / "missing")

    assert list((tmp_path / "shm").iterdir()) == []
    assert list(temporary_folder.iterdir()) == []


# -- the disk ----------------------------------------------------------------------------------------------------


def test_a_limit_is_kept(tmp_path: Path) -> None:
    budget = disk_budget(tmp_path, 0, 12_345, is_chosen=False)

    assert (budget.num_bytes, budget.reason) == (12_345, "data.cache_limit")


def test_a_limit_that_the_disk_has_not_is_cut(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    budget = disk_budget(tmp_path, 1000 * TB, 10**18, is_chosen=False)

    assert budget.num_bytes - 1000 * TB == pytest.approx(0.95 * free, rel=0.2)
    assert budget.reason == "the free space"


def test_without_a_limit_it_is_a_share_of_what_is_free(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free

    unasked, asked = (disk_budget(tmp_path, 0, None, is_chosen=is_chosen) for is_chosen in (False, True))

    assert unasked.num_bytes == pytest.approx(0.2 * free, rel=0.2)
    assert asked.num_bytes == pytest.approx(0.5 * free, rel=0.2)
    assert unasked.reason == "20% of the free space; data.cache_limit sets it"


def test_what_caches_take_already_stays_theirs(tmp_path: Path) -> None:
    budget = disk_budget(tmp_path, 1000 * TB, None, is_chosen=False)

    assert budget.num_bytes == 1000 * TB


# -- memory ------------------------------------------------------------------------------------------------------


def test_memory_is_bounded_by_what_is_free_and_by_its_file_system_and_by_the_limit(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free

    budgets = [memory_budget(tmp_path, taken, limit) for taken, limit in ((0, 77), (1000 * TB, None), (0, None))]

    assert (budgets[0].num_bytes, budgets[0].reason) == (77, "data.cache_limit")
    assert budgets[1].num_bytes == pytest.approx(500 * TB, rel=0.1)
    assert budgets[1].reason == "half of the free memory"
    assert budgets[2].num_bytes <= min(free, psutil.virtual_memory().total // 2)


def make_group(folder: Path, *, limit: str, used: int, reclaimable: int, version: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    prefix = "" if version == 2 else "total_"
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{prefix}inactive_file {reclaimable}\nfile 9\n")


def own_groups(folder: Path, text: str) -> Path:
    (folder / "own").write_text(text)
    return folder / "own"


def test_a_container_sees_its_limit_at_the_root(tmp_path: Path) -> None:
    make_group(tmp_path / "groups", limit="5000", used=3000, reclaimable=1000, version=2)
    own = own_groups(tmp_path, "0::/docker/1234\n")

    assert available_memory(tmp_path / "groups", own) == 3000


def test_the_tightest_group_around_a_process_counts(tmp_path: Path) -> None:
    root = tmp_path / "groups"
    make_group(root / "a", limit="9000", used=1000, reclaimable=0, version=2)
    make_group(root / "a" / "b", limit="max", used=10, reclaimable=0, version=2)
    make_group(root / "a" / "b" / "c", limit="9500", used=100, reclaimable=0, version=2)
    make_group(root / "other", limit="1", used=0, reclaimable=0, version=2)

    assert available_memory(root, own_groups(tmp_path, "0::/a/b/c\n")) == 8000


def test_groups_of_version_1_count_too(tmp_path: Path) -> None:
    make_group(tmp_path / "groups" / "memory" / "job", limit="7000", used=500, reclaimable=200, version=1)
    own = own_groups(tmp_path, "9:cpu,cpuacct:/\n4:memory:/job\n0::/\n")

    assert available_memory(tmp_path / "groups", own) == 6700


def test_a_group_that_is_over_its_limit_leaves_nothing(tmp_path: Path) -> None:
    make_group(tmp_path / "groups", limit="5000", used=6000, reclaimable=0, version=2)

    assert available_memory(tmp_path / "groups", own_groups(tmp_path, "0::/\n")) == 0


@pytest.mark.parametrize("text", ["0::/gone\n", "", None])
def test_without_a_limit_it_is_what_the_machine_has(tmp_path: Path, text: str | None) -> None:
    own = tmp_path / "missing" if text is None else own_groups(tmp_path, text)

    assert 0 < available_memory(tmp_path / "groups", own) <= psutil.virtual_memory().total


def test_a_group_without_figures_is_skipped(tmp_path: Path) -> None:
    make_group(tmp_path / "groups", limit="9223372036854771712", used=1, reclaimable=0, version=2)
    (tmp_path / "groups" / "memory.stat").write_text("broken")

    assert available_memory(tmp_path / "groups", own_groups(tmp_path, "0::/\n")) > 0


def test_this_process_has_memory() -> None:
    assert 0 < available_memory() <= psutil.virtual_memory().total
