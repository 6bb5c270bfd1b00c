from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.helpers.stored_pictures import make_list

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
    place = disk_location(tmp_path / "root", 1000, is_chosen=False)

    with place.locked():
        assert place.budget(0).num_bytes == 1000
    assert place.kind == "disk"
    assert not place.is_temporary
    assert place.store.folder == tmp_path / "root" / "pictures"


def test_memory_is_private_and_goes(tmp_path: Path) -> None:
    (tmp_path / "shm").mkdir()
    place = memory_location(1000, tmp_path / "shm")
    assert place is not None

    with place.locked():
        assert place.budget(0).num_bytes == 1000
    assert place.is_temporary
    (own,) = (tmp_path / "shm").iterdir()
    assert place.store.folder == own / "pictures"
    if os.name != "nt":
        assert own.stat().st_mode & 0o777 == 0o700


def test_a_system_without_shared_memory_has_the_temporary_folder(tmp_path: Path, temporary_folder: Path) -> None:
    assert memory_location(None, tmp_path / "missing") is None
    place = temporary_location(None)

    with place.locked():
        assert place.budget(0).num_bytes <= 0.5 * shutil.disk_usage(tmp_path).total
    assert place.kind == "disk"
    assert place.is_temporary
    assert "no shared memory" in place.note
    assert place.store.folder.is_relative_to(temporary_folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_somebody_else_made_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "shm").mkdir()
    place = memory_location(None, tmp_path / "shm")
    assert place is not None
    place.store.folder.parent.mkdir()
    os.chown(place.store.folder.parent, 65_534, 65_534)

    with pytest.raises(PermissionError, match="another user"), place.locked():
        pass
    remove_abandoned(tmp_path / "shm")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "shm").mkdir()
    (tmp_path / "target").mkdir()
    place = memory_location(None, tmp_path / "shm")
    assert place is not None
    place.store.folder.parent.symlink_to(tmp_path / "target")

    with pytest.raises(PermissionError, match="another user"), place.locked():
        pass
    assert list((tmp_path / "target").iterdir()) == []


def test_what_killed_runs_left_in_memory_is_removed(tmp_path: Path) -> None:
    (tmp_path / "shm").mkdir()
    images = make_list()
    places = [memory_location(None, tmp_path / "shm"), temporary_location(None)]
    uses = []
    for place in places:
        assert place is not None
        with place.locked():
            for name in ("abandoned", "used", ".new-1"):
                make_cache(place.store.folder / name, images, images.num_bytes)
            uses.append(CacheUse.register(place.store.folder / "used", len(images)))

    remove_abandoned(tmp_path / "shm")

    for place in places:
        assert place is not None
        assert sorted(path.name for path in place.store.folder.iterdir()) == [".lock", "used"]
    for use in uses:
        use.end()


def test_nothing_is_made_where_nothing_was_left(tmp_path: Path, temporary_folder: Path) -> None:
    (tmp_path / "shm").mkdir()

    remove_abandoned(tmp_path / "shm")
    remove_abandoned(tmp_path / "missing")

    assert list((tmp_path / "shm").iterdir()) == []
    assert list(temporary_folder.iterdir()) == []
