from __future__ import annotations

import io
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
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
from classifier_training.models.late_number import LateNumber
from classifier_training.terminal.terminal import Terminal

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


def test_it_prints_every_epoch_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, Terminal())
    first, second = epoch_lines(capsys.readouterr().out)
    assert first.startswith("epoch 1/2  train/loss ")
    assert second.startswith("epoch 2/2  train/loss ")
    for word in ("val/loss 1.", "val/top1 0.", "val/balanced_accuracy 0.", "lr 7.50e-04", "images/s", " s left"):
        assert word in first
    assert "best so far" in first, "the first epoch is the best so far"
    assert second.endswith("0 s left")


def test_it_shows_which_epoch_is_not_the_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    throughput = Throughput()
    checkpoint = RunCheckpoint(tmp_path)
    checkpoint.best_model_score, checkpoint.best_epoch = 1.0, 0
    shown = TrainingProgress(Terminal(), throughput)
    trainer = make_trainer(tmp_path, throughput, shown, checkpoint, enable_checkpointing=True)
    trainer.fit(make_model(), make_loader(3), make_loader(1))
    (line,) = epoch_lines(capsys.readouterr().out)
    assert "best so far" not in line


def test_a_long_epoch_prints_its_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LOOKS", 0.0)
    fit(tmp_path, Terminal(), max_epochs=1)
    lines = epoch_lines(capsys.readouterr().out)
    assert len(lines) == 4
    assert "epoch 1/1  batch 2/3  loss 1." in lines[1]
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
    assert "step " in screen.getvalue()
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


# -- in a real pseudo-terminal -----------------------------------------------------------------------------------


on_posix = pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX")


@contextmanager
def screen(monkeypatch: pytest.MonkeyPatch, width: int) -> Iterator[list[str]]:
    """Makes standard output a terminal window; after the block the list holds its lines, without colours."""
    window, process_end = os.openpty()
    read: list[bytes] = []

    def keep_reading() -> None:
        while chunk := _read(window):
            read.append(chunk)

    reader = threading.Thread(target=keep_reading)
    reader.start()
    lines: list[str] = []
    with monkeypatch.context() as patched, os.fdopen(process_end, "w", encoding="utf-8") as output:
        patched.setenv("TERM", "xterm")
        patched.setenv("COLUMNS", str(width))  # Rich would ask the process's own output, which is pytest's
        patched.setattr(sys, "stdout", output)
        yield lines
    reader.join()
    os.close(window)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(read).decode())
    lines += [line.rstrip() for line in re.split(r"[\r\n]+", plain)]


def _read(window: int) -> bytes:
    try:
        return os.read(window, 65_536)
    except OSError:  # the other end is closed
        return b""


NUMBERS = r"loss \d\.\d{4}  val/top1 0\.\d{4}  \d+ images/s"


@on_posix
def test_on_a_wide_screen_everything_is_beside_the_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with screen(monkeypatch, 140) as lines:
        fit(tmp_path, Terminal())

    shown = "\n".join(lines)
    assert re.search(rf"^epoch 2/2 +━+ step 6/6  0 s left  {NUMBERS}$", shown, re.MULTILINE)
    assert re.search(r"^validation ━+ batch 0/1$", shown, re.MULTILINE)
    assert all(len(line) <= 140 for line in lines if "━" in line)


@on_posix
def test_on_a_narrow_screen_nothing_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with screen(monkeypatch, 80) as lines:
        fit(tmp_path, Terminal())

    shown = "\n".join(lines)
    assert re.search(rf"^epoch 2/2 +━+ step 6/6  0 s left\n +{NUMBERS}$", shown, re.MULTILINE)


@on_posix
def test_a_quiet_run_shows_no_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with screen(monkeypatch, 80) as lines:
        fit(tmp_path, Terminal(quiet=True))
    assert lines == [""]


def test_a_pipe_gets_lines(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, Terminal())
    out = capfd.readouterr().out
    assert len(epoch_lines(out)) == 2
    assert not {"━", "\r", "\x1b"} & set(out)


# -- the loss ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_accumulated", [1, 3])
def test_the_loss_is_that_of_the_batch(tmp_path: Path, num_accumulated: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Losses(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, model: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            losses.append((float(outputs["loss"]) * num_accumulated, shown._loss.value))

    losses: list[tuple[float, float | None]] = []
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LOOKS", 0.0)
    throughput = Throughput()
    shown = TrainingProgress(Terminal(quiet=True), throughput)
    trainer = make_trainer(tmp_path, throughput, shown, Losses(), accumulate_grad_batches=num_accumulated)
    trainer.fit(make_model(), make_loader(3), make_loader(1))

    assert len(losses) == 3
    assert all(shown == pytest.approx(loss) for loss, shown in losses)


def test_a_step_that_gives_no_loss_shows_none() -> None:
    for outputs in (None, {}, {"loss": None}, torch.ones(2)):
        assert progress._loss_of(outputs, 1) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_loss_on_the_device_is_not_waited_for() -> None:
    number = LateNumber()
    with_debug = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        number.update(torch.tensor(1.0).pin_memory().to("cuda", non_blocking=True))
        number.update(torch.tensor(2.0).pin_memory().to("cuda", non_blocking=True))
    finally:
        torch.cuda.set_sync_debug_mode(with_debug)
    torch.cuda.synchronize()
    number.update(torch.tensor(3.0, device="cuda"))
    assert number.value in (1.0, 2.0)


def test_a_training_without_an_end_shows_no_total(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class StopAfterOne(lightning.Callback):
        def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            trainer.should_stop = True

    throughput = Throughput()
    trainer = make_trainer(
        tmp_path, throughput, TrainingProgress(Terminal(), throughput), StopAfterOne(), max_epochs=-1
    )
    trainer.fit(Endless(), make_loader(2), make_loader(1))
    assert "unknown time left" in capsys.readouterr().out


class Endless(lightning.LightningModule):
    """Has no schedule, which would need an end."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, 4)

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.head(batch["images"].mean((2, 3))), batch["labels"])

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)
