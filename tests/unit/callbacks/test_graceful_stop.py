"""Interrupts of a real training, in this process and in one of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tests.helpers.cli import WarmProgram, read_until
from tests.helpers.training import (
    LIGHTNING_NOTICES,
    KillAfter,
    KilledError,
    assert_same_run,
    fit_photos,
    make_loader,
    make_model,
    make_trainer,
)

from classifier_training.callbacks.graceful_stop import GracefulStop
from classifier_training.errors import TrainingStopped
from classifier_training.models.checkpoint import load_model

pytestmark = [*LIGHTNING_NOTICES, pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")]
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _usual_interrupts() -> Iterator[None]:
    """The tests may themselves be run where interrupts are ignored."""
    usual: dict[int, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGUSR1: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Interrupt(lightning.Callback):
    """Presses Ctrl-C, or sends another signal, at a batch of training or of validation."""

    def __init__(self, epoch: int, batch: int, number: int = signal.SIGINT, *, in_validation: bool = False) -> None:
        self.at, self.number, self.in_validation = (epoch, batch), number, in_validation

    def on_train_batch_start(self, trainer: lightning.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == self.at and not self.in_validation:
            signal.raise_signal(self.number)

    def on_validation_batch_start(
        self, trainer: lightning.Trainer, module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if (trainer.current_epoch, batch_idx) == self.at and self.in_validation:
            signal.raise_signal(self.number)


each_signal = pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])],
    ids=lambda number: signal.Signals(number).name,
)


@each_signal
@pytest.mark.parametrize(("epoch", "batch", "step"), [(0, 0, 1), (0, 3, 4)], ids=["first", "middle"])
def test_an_interrupted_run_ends_as_if_it_had_not_been(
    tmp_path: Path, photos: Path, uninterrupted: Path, number: int, epoch: int, batch: int, step: int
) -> None:
    with pytest.raises(SystemExit) as stopped:
        fit_photos(tmp_path, photos, Interrupt(epoch, batch, number))
    if number != signal.SIGINT:
        assert isinstance(stopped.value, TrainingStopped)
        assert (stopped.value.code, stopped.value.signal) == (0, signal.Signals(number).name)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == step
    fit_photos(tmp_path, photos)
    assert_same_run(tmp_path, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("epoch", "batch", "is_left"), [(0, 0, True), (2, 0, True), (2, 1, False)], ids=["first", "late", "last batch"]
)
def test_a_run_that_is_interrupted_while_it_validates_validates_again(
    tmp_path: Path, photos: Path, uninterrupted: Path, number: int, epoch: int, batch: int, is_left: bool
) -> None:
    with pytest.raises(SystemExit):
        fit_photos(tmp_path, photos, Interrupt(epoch, batch, number, in_validation=True))
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert content["global_step"] == 6 * (epoch + 1)
    assert content.get("validation_left", False) is is_left
    fit_photos(tmp_path, photos)
    assert_same_run(tmp_path, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_stop_in_the_last_batch_of_all_comes_before_anything_else_is_done(
    tmp_path: Path, photos: Path, number: int
) -> None:
    class Export(lightning.Callback):
        def on_fit_end(self, *arguments: Any) -> None:
            pytest.fail("the training was to stop")

    with pytest.raises(SystemExit):
        fit_photos(tmp_path, photos, Interrupt(2, 5, number), Export())
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 18


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


def test_a_scheduler_that_asks_twice_is_obeyed_once(
    tmp_path: Path, photos: Path, uninterrupted: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Ask(lightning.Callback):
        def on_before_backward(self, trainer: lightning.Trainer, *arguments: Any) -> None:
            if trainer.global_step == 2:
                for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM):
                    signal.raise_signal(number)

    with pytest.raises(TrainingStopped) as stopped:
        fit_photos(tmp_path, photos, Ask())
    assert stopped.value.signal == "SIGUSR1"
    assert capfd.readouterr().err.count("stopping after this step") == 1
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 3
    fit_photos(tmp_path, photos)
    assert_same_run(tmp_path, uninterrupted)


def test_the_next_training_does_not_stop_for_the_request_of_the_last(tmp_path: Path) -> None:
    callback = GracefulStop()
    with pytest.raises(TrainingStopped):
        make_trainer(tmp_path, callback, Interrupt(0, 0, signal.SIGTERM)).fit(
            make_model(), make_loader(3), make_loader(1)
        )
    trainer = make_trainer(tmp_path, callback)
    trainer.fit(make_model(), make_loader(3), make_loader(1))
    assert trainer.global_step == 3


def test_a_handler_of_somebody_else_for_the_second_signal_stays(tmp_path: Path) -> None:
    """Lightning's own, under SLURM, writes its checkpoint and requeues the job."""
    heard: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    trainer = make_trainer(tmp_path, GracefulStop(), Interrupt(0, 1, signal.SIGUSR1))
    trainer.fit(make_model(), make_loader(3), make_loader(1))
    assert heard == [signal.SIGUSR1]
    assert trainer.global_step == 3


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
    [
        ([], None),
        ([KillAfter(2)], KilledError),
        ([Interrupt(0, 1)], SystemExit),
        ([Interrupt(0, 1, signal.SIGTERM)], TrainingStopped),
    ],
    ids=["end", "failure", "interrupt", "termination"],
)
def test_interrupts_are_the_callers_own_again_however_it_ended(
    tmp_path: Path, callbacks: list[lightning.Callback], error: type[BaseException] | None
) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    taken: list[Any] = []

    class Look(lightning.Callback):
        def on_train_batch_start(self, *arguments: Any) -> None:
            taken.extend(signal.getsignal(number) for number in numbers)

    trainer = make_trainer(tmp_path, GracefulStop(), Look(), *callbacks)
    if error is None:
        trainer.fit(make_model(), make_loader(3), make_loader(1))
    else:
        with pytest.raises(error):
            trainer.fit(make_model(), make_loader(3), make_loader(1))
    assert not [handler for handler in taken[:3] if handler in before]
    assert [signal.getsignal(number) for number in numbers] == before


PROGRAM = """
import signal, sys
from pathlib import Path
import lightning

folder, photos, gate, root = map(Path, sys.argv[1:])
sys.path.insert(0, str(root))
from tests.helpers.training import fit_photos

signal.signal(signal.SIGINT, signal.default_int_handler)

class Wait(lightning.Callback):
    def on_before_backward(self, trainer, module, loss):
        if trainer.global_step == 8:
            print("in the middle of step 9", flush=True)
            gate.read_text()

fit_photos(folder, photos, Wait())
"""


def test_a_process_that_is_interrupted_leaves_a_checkpoint_to_go_on_from(
    program: WarmProgram, tmp_path: Path, photos: Path, uninterrupted: Path
) -> None:
    gate, run = tmp_path / "gate", tmp_path / "run"
    os.mkfifo(gate)
    run.mkdir()
    with program.started(run, photos, gate, ROOT, script=PROGRAM, folder=tmp_path) as process:
        read_until(process, "in the middle of step 9")
        os.kill(process.pid, signal.SIGINT)
        gate.write_text("on")
        ended = process.end()
    assert ended.code == 1, ended
    assert "Traceback" not in ended.out
    assert "stopping after this step" in ended.out
    content = torch.load(run / "last.ckpt", weights_only=True)
    assert (content["epoch"], content["global_step"]) == (1, 9)
    assert load_model(run / "last.ckpt").num_classes == 2
    fit_photos(run, photos)
    assert_same_run(run, uninterrupted)
