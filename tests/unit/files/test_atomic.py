from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from classifier_training.files.atomic import atomic_path, write_json, write_text


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "new" / "file.txt"

    with atomic_path(path, durable=durable) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent
        assert not path.exists()

    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        write_half()

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("durable", [True, False])
def test_a_block_that_writes_nothing_at_its_path_is_an_error(tmp_path: Path, durable: bool) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a", durable=durable) as temporary:
        temporary.unlink()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a", "x")
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask
    finally:
        assert os.umask(before) == mask


def test_text_is_utf8_with_its_own_line_breaks(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "ü\r\nb\rc\n")

    assert (tmp_path / "a").read_bytes() == "ü\r\nb\rc\n".encode()


def test_json_is_readable_by_people_and_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"ü": [1, 0.1, None]})

    assert json.loads(path.read_text(encoding="utf-8")) == {"ü": [1, 0.1, None]}
    assert '"ü"' in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"ü": [1, 0.1, None]}
