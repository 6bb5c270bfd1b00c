from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from classifier_training.run.checkpoint_files import (
    earlier_checkpoints,
    link_or_copy,
    replace_last_checkpoint,
    resumable_checkpoints,
)
from classifier_training.run.folder import RunFolder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def replace(folder: Path, text: str, keep: int) -> None:
    fresh = folder / ".fresh.tmp"
    fresh.write_text(text)
    replace_last_checkpoint(fresh, keep)


@pytest.fixture(params=[True, False], ids=["hard links", "no hard links"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    if not request.param:
        monkeypatch.setattr(os, "link", refuse)
    return tmp_path


def test_the_last_ones_are_kept_in_order(folder: Path) -> None:
    for number in range(5):
        replace(folder, str(number), keep=3)
    assert contents(folder) == {"last.ckpt": "4", "last-1.ckpt": "3", "last-2.ckpt": "2"}


def test_one_alone_is_replaced(folder: Path) -> None:
    for number in range(3):
        replace(folder, str(number), keep=1)
    assert contents(folder) == {"last.ckpt": "2"}


def test_fewer_and_more_may_be_kept_from_now_on(folder: Path) -> None:
    for number in range(12):
        replace(folder, str(number), keep=12)
    assert earlier_checkpoints(folder)[-1].name == "last-11.ckpt"
    replace(folder, "12", keep=2)
    assert contents(folder) == {"last.ckpt": "12", "last-1.ckpt": "11"}
    replace(folder, "13", keep=4)
    assert contents(folder) == {"last.ckpt": "13", "last-1.ckpt": "12", "last-2.ckpt": "11"}


def test_other_files_are_left_alone(folder: Path) -> None:
    (folder / "last-good.ckpt").write_text("mine")
    (folder / "best.ckpt").write_text("best")
    for number in range(4):
        replace(folder, str(number), keep=2)
    assert contents(folder) == {
        "best.ckpt": "best",
        "last-1.ckpt": "2",
        "last-good.ckpt": "mine",
        "last.ckpt": "3",
    }


class KilledError(Exception):
    """The process ended between two calls of the operating system."""


@pytest.mark.parametrize("keep", [1, 2, 3, 4])
def test_a_kill_between_any_two_steps_leaves_the_latest_whole_one_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    run = RunFolder(tmp_path)
    calls_left = -1

    def counted(call: Any) -> Any:
        def run_call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls_left
            if calls_left == 0:
                raise KilledError
            calls_left -= 1
            return call(*arguments, **options)

        return run_call

    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
    monkeypatch.setattr(os, "link", counted(os.link))
    run.checkpoints.mkdir()
    for number in range(6):
        replace(run.checkpoints, str(number), keep)
    num_kills, after = 0, "5"
    while True:
        calls_left = num_kills
        try:
            replace(run.checkpoints, f"new {num_kills}", keep)
        except KilledError:
            texts = [path.read_text() for path in resumable_checkpoints(run)]
            assert texts[0] == after
            assert len([path for path in resumable_checkpoints(run) if path.name != "best.ckpt"]) <= keep
            num_kills += 1
            continue
        break
    assert num_kills >= 1
    assert resumable_checkpoints(run)[0].read_text() == f"new {num_kills}"


def test_training_can_go_on_from_the_last_ones_and_then_from_the_best(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert resumable_checkpoints(run) == []
    run.checkpoints.mkdir()
    names = ["last.ckpt", "last-1.ckpt", "last-2.ckpt", "last-10.ckpt", "best.ckpt"]
    for name in (*names, ".last.ckpt.fresh.tmp", "last-x.ckpt"):
        (run.checkpoints / name).touch()
    assert [path.name for path in resumable_checkpoints(run)] == names


def test_a_second_name_replaces_what_had_it(folder: Path) -> None:
    (folder / "a").write_text("new")
    (folder / "b").write_text("old")
    link_or_copy(folder / "a", folder / "b")
    assert contents(folder) == {"a": "new", "b": "new"}
