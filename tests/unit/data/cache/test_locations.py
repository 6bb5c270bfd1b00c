from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.helpers.stored_images import make_list

from classifier_training.data.cache.locations import (
    disk_location,
    memory_location,
    remove_abandoned,
    temporary_location,
)
from classifier_training.data.cache.making import make_cache
from classifier_training.data.cache.users import CacheUse


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
