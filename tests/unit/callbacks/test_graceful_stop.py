"""Interrupts of a real training, in this process and in one of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tests.helpers.training import (
    LIGHTNING_NOTICES,
    KillAfter,
    KilledError,
    assert_same_run,
    fit_photos,
    make_learnable_photos,
    make_loader,
    make_model,
    make_trainer,
)

from classifier_training.callbacks.graceful_stop import GracefulStop
from classifier_training.models.checkpoint import load_model

pytestmark = [*LIGHTNING_NOTICES, pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_learnable_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    fit_photos(folder, photos)
    return folder


@pytest.fixture(autouse=True)
def _usual_interrupts() -> Iterator[None]:
    """The tests may themselves be run where interrupts are ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Interrupt(lightning.Callback):
    """Presses Ctrl-C at a batch, in training or in validation."""

    def __init__(self, epoch: int, batch: int | None = None) -> None:
        self.epoch, self.batch = epoch, batch

    def on_train_batch_start(self, trainer: lightning.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            signal.raise_signal(signal.SIGINT)

    def on_validation_start(self, trainer: lightning.Trainer, module: Any) -> None:
        if trainer.current_epoch == self.epoch and self.batch is None:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("epoch", "batch", "step"),
    [(0, 0, 1), (0, 3, 4), (1, 5, 12), (1, None, 12)],
    ids=["first", "middle", "last", "val"],
)
def test_an_interrupted_run_ends_as_if_it_had_not_been(
    tmp_path: Path, photos: Path, uninterrupted: Path, epoch: int, batch: int | None, step: int
) -> None:
    with pytest.raises(SystemExit):
        fit_photos(tmp_path, photos, Interrupt(epoch, batch))
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == step
    fit_photos(tmp_path, photos)
    assert_same_run(tmp_path, uninterrupted)


def test_it_stops_between_optimizer_steps_only(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(SystemExit):
        fit_photos(tmp_path, photos, Interrupt(0, 2), accumulate_grad_batches=2)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert content["global_step"] == 2, "the third batch had only accumulated gradients, the fourth stepped"


def test_the_notice_is_written_even_while_something_else_is(
    tmp_path: Path, photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        fit_photos(tmp_path, photos, Interrupt(0, 0))
    assert capfd.readouterr().err.count("last.ckpt will be written; press Ctrl-C again to stop at once") == 1


def test_a_second_interrupt_stops_at_once(tmp_path: Path, photos: Path) -> None:
    class Impatient(lightning.Callback):
        def on_before_backward(self, trainer: lightning.Trainer, *arguments: Any) -> None:
            if trainer.global_step == 2:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
                pytest.fail("the second interrupt did nothing")

    with pytest.raises(SystemExit):
        fit_photos(tmp_path, photos, Impatient())
    assert not (tmp_path / "last.ckpt").exists()


@pytest.mark.parametrize(
    ("callbacks", "error"),
    [([], None), ([KillAfter(2)], KilledError), ([Interrupt(0, 1)], SystemExit)],
    ids=["end", "failure", "interrupt"],
)
def test_interrupts_are_the_callers_own_again_however_it_ended(
    tmp_path: Path, callbacks: list[lightning.Callback], error: type[BaseException] | None
) -> None:
    taken: list[Any] = []

    class Look(lightning.Callback):
        def on_train_batch_start(self, *arguments: Any) -> None:
            taken.append(signal.getsignal(signal.SIGINT))

    trainer = make_trainer(tmp_path, GracefulStop(), Look(), *callbacks)
    if error is None:
        trainer.fit(make_model(), make_loader(3), make_loader(1))
    else:
        with pytest.raises(error):
            trainer.fit(make_model(), make_loader(3), make_loader(1))
    assert taken[0] is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


PROGRAM = """
import signal, sys
from pathlib import Path
import lightning
from tests.helpers.training import fit_photos

signal.signal(signal.SIGINT, signal.default_int_handler)

class Wait(lightning.Callback):
    def on_before_backward(self, trainer, module, loss):
        if trainer.global_step == 8:
            print("in the middle of step 9", flush=True)
            sys.stdin.readline()

fit_photos(Path(sys.argv[1]), Path(sys.argv[2]), Wait())
"""


def test_a_process_that_is_interrupted_leaves_a_checkpoint_to_go_on_from(
    tmp_path: Path, photos: Path, uninterrupted: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, tmp_path, photos],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        assert "in the middle of step 9" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate("\n", timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "stopping after this step" in said
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert (content["epoch"], content["global_step"]) == (1, 9)
    assert load_model(tmp_path / "last.ckpt").num_classes == 2
    fit_photos(tmp_path, photos)
    assert_same_run(tmp_path, uninterrupted)
