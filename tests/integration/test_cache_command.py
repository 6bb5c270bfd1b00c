"""`cache show` and `cache clear`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from tests.helpers.cli import TINY, WarmProgram

from classifier_training.data.cache.folder import CACHE_VARIABLE


def test_what_is_shown_is_what_is_cleared(program: WarmProgram, photos: Path, tmp_path: Path) -> None:
    cache = {CACHE_VARIABLE: str(tmp_path / "cache")}
    finished = program("train", photos, *TINY, "--dry-run", environment=cache)
    assert finished.code == 0, finished

    shown = program("cache", "show", environment=cache)
    listed = program("cache", "show", "--json", environment=cache)

    assert shown.code == 0, shown
    assert "indices and splits" in shown.out
    assert str(photos)[:40] in shown.out
    (entry,) = listed.json
    assert (entry["kind"], entry["photos"], entry["in_use"]) == ("index", str(photos), False)
    assert program("cache", "clear", "--older-than", "1d", environment=cache).out.endswith(": 0 of 0 entries\n")
    os.utime(entry["path"], (time.time() - 2 * 86_400,) * 2)
    cleared = program("cache", "clear", "--older-than", "1d", environment=cache)
    assert cleared.out.splitlines()[-1].endswith(f" in {tmp_path / 'cache'}: 1 of 1 entries")
    assert not Path(entry["path"]).exists()
    assert program("cache", "show", "--json", environment=cache).json == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say what to remove: classifier-training cache clear --older-than 30d, or cache clear --all"),
        (("--all", "--older-than", "3d"), "say what to remove: "),
        (
            ("--older-than", "soon"),
            "--older-than soon is not an age; allowed are numbers with m, h, d or w, such as 30d",
        ),
    ],
)
def test_what_to_remove_has_to_be_said(
    program: WarmProgram, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    index = tmp_path / "cache" / "index" / "one.arrow"
    index.parent.mkdir(parents=True)
    index.write_bytes(b"an index")

    finished = program("cache", "clear", *words, environment={CACHE_VARIABLE: str(tmp_path / "cache")})

    assert finished.code == 2
    (line,) = finished.err.splitlines()
    assert line.startswith(f"error: {message}")
    assert index.is_file()


def test_a_folder_that_is_empty_or_missing_is_shown(program: WarmProgram, tmp_path: Path) -> None:
    finished = program("cache", "show", "--cache-dir", tmp_path / "none")

    assert finished.code == 0
    assert finished.out.startswith(f"0 kB in {tmp_path / 'none'}")
    assert program("cache", "clear", "--all", "--cache-dir", tmp_path / "none").code == 0
    assert not (tmp_path / "none").exists()
