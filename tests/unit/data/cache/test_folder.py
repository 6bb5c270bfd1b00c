from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from classifier_training.data.cache.folder import cache_folder, is_cache_error, one_at_a_time, writing_to
from classifier_training.errors import DataError


def test_the_setting_wins_over_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSIFIER_TRAINING_CACHE_DIR", str(tmp_path / "variable"))

    assert cache_folder(str(tmp_path / "setting")) == tmp_path / "setting"
    assert cache_folder(None) == tmp_path / "variable"


def test_a_relative_folder_and_a_home_folder_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert cache_folder("here/../there") == tmp_path / "there"
    assert cache_folder("~/cache") == tmp_path / "home" / "cache"


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache"),
        ("linux", {"XDG_CACHE_HOME": "{tmp}/xdg"}, "xdg"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "home/.cache"),
        ("darwin", {"XDG_CACHE_HOME": "{tmp}/xdg"}, "home/Library/Caches"),
        ("win32", {"LOCALAPPDATA": "{tmp}/local"}, "local"),
        ("win32", {}, "home/AppData/Local"),
    ],
)
def test_the_folder_of_the_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: str
) -> None:
    for name in ("CLASSIFIER_TRAINING_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    monkeypatch.setattr(sys, "platform", platform)

    assert cache_folder() == tmp_path / expected / "classifier-training"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EDQUOT, "is full"),
        (errno.EROFS, "cannot be written"),
        (errno.EACCES, "cannot be written"),
    ],
)
def test_an_error_is_one_line_that_names_the_remedy(tmp_path: Path, number: int, words: str) -> None:
    with (
        pytest.raises(DataError, match=rf"the cache folder {tmp_path} {words}: .*data\.cache_dir") as caught,
        writing_to(tmp_path),
    ):
        raise OSError(number, os.strerror(number), str(tmp_path / "remote" / "x"))

    assert "\n" not in str(caught.value)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = tmp_path / "file" / "cache"

    with pytest.raises(DataError, match="cannot be written: Not a directory"), writing_to(cache):
        cache.mkdir(parents=True)


def test_other_errors_are_not_the_caches(tmp_path: Path) -> None:
    assert not is_cache_error(PermissionError(errno.EACCES, "Permission denied", "/elsewhere"), tmp_path)
    assert not is_cache_error(PermissionError("Forbidden"), tmp_path)
    assert not is_cache_error(ConnectionResetError(errno.ECONNRESET, "reset"), tmp_path)
    assert not is_cache_error(ValueError("no"), tmp_path)
    with pytest.raises(ConnectionResetError), writing_to(tmp_path):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


def test_one_thread_at_a_time(tmp_path: Path) -> None:
    path, count = tmp_path / "new" / "file", tmp_path / "count"
    count.write_text("0")

    def add() -> None:
        for _ in range(25):
            with one_at_a_time(path):
                count.write_text(str(int(count.read_text()) + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert count.read_text() == "100"


def test_what_a_killed_process_left_is_removed_and_its_lock_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a [file]"
    other = tmp_path / ".other.abc.tmp"
    other.write_text("")
    killed = (
        "import os, sys; from pathlib import Path\n"
        "from classifier_training.data.cache.folder import one_at_a_time\n"
        "from classifier_training.files.atomic import atomic_path\n"
        "path = Path(sys.argv[1])\n"
        "with one_at_a_time(path), atomic_path(path) as temporary:\n"
        "    temporary.write_text('half'); os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(path)], check=False).returncode == 9
    assert len(list(tmp_path.glob(".a*.tmp"))) == 1

    with one_at_a_time(path):
        assert list(tmp_path.glob(".a*.tmp")) == []

    assert other.exists()
    assert not path.exists()
