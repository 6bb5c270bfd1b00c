from __future__ import annotations

import gc
import pickle
from pathlib import Path

import pytest

from classifier_training.data.cache.marks import GOOD
from classifier_training.data.cache.users import CacheUse, is_used


def test_a_cache_is_used_until_every_use_has_ended(tmp_path: Path) -> None:
    assert not is_used(tmp_path)
    uses = [CacheUse.register(tmp_path, 5) for _ in range(3)]

    for use in uses:
        assert is_used(tmp_path)
        use.end()
        use.end()

    assert not is_used(tmp_path)
    assert list((tmp_path / "users").iterdir()) == []


def test_a_use_that_is_forgotten_ends(tmp_path: Path) -> None:
    use = CacheUse.register(tmp_path, 5)
    assert is_used(tmp_path)

    del use
    gc.collect()

    assert not is_used(tmp_path)


def test_what_follows_the_end_is_done_once(tmp_path: Path) -> None:
    used_at_the_end: list[bool] = []
    use = CacheUse.register(tmp_path, 5, lambda: used_at_the_end.append(is_used(tmp_path)))
    assert used_at_the_end == []

    use.end()
    use.end()

    assert used_at_the_end == [False]


def test_a_pickled_use_shares_the_marks_and_ends_nothing(tmp_path: Path) -> None:
    use = CacheUse.register(tmp_path, 5)
    copy = pickle.loads(pickle.dumps(use))  # noqa: S301 - our own

    copy.marks[3] = GOOD
    copy.end()
    del copy
    gc.collect()

    assert use.marks[3] == GOOD
    assert is_used(tmp_path)
    use.end()


def test_what_a_dead_run_left_is_removed(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.mkdir()
    (users / "1-dead.lock").touch()
    (users / "1-dead.marks").write_bytes(bytes(6))
    alive = CacheUse.register(tmp_path, 5)

    assert is_used(tmp_path)
    assert sorted(path.suffix for path in users.iterdir()) == [".lock", ".marks"]
    alive.end()
    assert not is_used(tmp_path)


def test_a_read_only_use_marks_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    use = CacheUse.read_only(5)
    copy = pickle.loads(pickle.dumps(use))  # noqa: S301 - our own

    copy.marks[2] = GOOD

    assert use.marks[2] == GOOD
    assert len(list(tmp_path.iterdir())) == 1
    use.end()
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_use_needs_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    use = CacheUse.read_only(5)

    use.marks[2] = GOOD

    assert use.marks[2] == GOOD
    use.end()


def test_a_use_that_cannot_be_noted_leaves_nothing_locked(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("a file in the way")

    with pytest.raises(OSError, match="users"):
        CacheUse.register(tmp_path, 5)

    assert not is_used(tmp_path)
