from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import lightning
import pytest
from tests.helpers.training import (
    LIGHTNING_NOTICES,
    KillAfter,
    KilledError,
    make_loader,
    make_model,
    make_trainer,
)

from classifier_training.callbacks import progress
from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.callbacks.progress import TrainingProgress
from classifier_training.callbacks.throughput import Throughput
from classifier_training.terminal import Terminal

pytestmark = LIGHTNING_NOTICES


class Screen(io.StringIO):
    """A terminal that can be read afterwards."""

    def isatty(self) -> bool:
        return True


def fit(folder: Path, terminal: Terminal, *callbacks: lightning.Callback, **options: Any) -> TrainingProgress:
    throughput = Throughput()
    shown = TrainingProgress(terminal, throughput)
    checkpoint = RunCheckpoint(folder)
    settings: dict[str, Any] = {"max_epochs": 2, "enable_checkpointing": True} | options
    trainer = make_trainer(folder, throughput, shown, *callbacks, checkpoint, **settings)
    trainer.fit(make_model(), make_loader(3), make_loader(1))
    return shown


def epoch_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("epoch ")]


def test_it_says_every_epoch_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, Terminal())
    first, second = epoch_lines(capsys.readouterr().out)
    assert first.startswith("epoch 1/2  train/loss ")
    assert second.startswith("epoch 2/2  train/loss ")
    for word in ("val/loss 1.", "val/top1 0.", "val/balanced_accuracy 0.", "lr 7.50e-04", "images/s", " s left"):
        assert word in first
    assert "best so far" in first, "the first epoch is the best so far"
    assert second.endswith("0 s left")


def test_it_says_which_epoch_is_not_the_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    throughput = Throughput()
    checkpoint = RunCheckpoint(tmp_path)
    checkpoint.best_model_score, checkpoint.best_epoch = 1.0, 0
    shown = TrainingProgress(Terminal(), throughput)
    trainer = make_trainer(tmp_path, throughput, shown, checkpoint, enable_checkpointing=True)
    trainer.fit(make_model(), make_loader(3), make_loader(1))
    (line,) = epoch_lines(capsys.readouterr().out)
    assert "best so far" not in line


def test_a_long_epoch_says_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    fit(tmp_path, Terminal(), max_epochs=1)
    lines = epoch_lines(capsys.readouterr().out)
    assert len(lines) == 4
    assert "epoch 1/1  batch 2/3  " in lines[1]
    assert " images/s, " in lines[1]


def test_a_quiet_terminal_hears_nothing_but_the_log_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(quiet=True)
    with terminal.log_to(tmp_path / "train.log"):
        fit(tmp_path, terminal)
    assert capsys.readouterr().out == ""
    assert len(epoch_lines((tmp_path / "train.log").read_text())) == 2


def test_on_a_screen_there_is_a_bar_that_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", screen)
    shown = fit(tmp_path, Terminal())
    assert shown._bar is None
    assert "steps" in screen.getvalue()
    assert "6/6" in screen.getvalue()
    assert screen.getvalue().count(HIDE_CURSOR) == screen.getvalue().count(SHOW_CURSOR) == 1


HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def test_a_training_that_fails_leaves_no_bar_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", screen)
    terminal = Terminal()
    with pytest.raises(KilledError):
        fit(tmp_path, terminal, KillAfter(2))
    assert screen.getvalue().count(HIDE_CURSOR) == screen.getvalue().count(SHOW_CURSOR) == 1
