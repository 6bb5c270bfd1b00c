"""Progress of a training: a bar on a screen, a line an epoch everywhere."""

from __future__ import annotations

import time
from typing import Any

import lightning
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.callbacks.throughput import Throughput
from classifier_training.terminal import SECONDS_BETWEEN_LINES, Terminal, duration

SHOWN = ("train/loss", "val/loss", "val/top1", "val/balanced_accuracy", "lr")


class TrainingProgress(lightning.Callback):
    """Shows epoch, step, images/s and time left, and says every epoch's result in one line.

    Args:
        terminal: Where to say it.
        throughput: Measures the images per second.
    """

    def __init__(self, terminal: Terminal, throughput: Throughput) -> None:
        super().__init__()
        self.terminal = terminal
        self.throughput = throughput
        self._bar: Progress | None = None
        self._started = self._epoch_started = self._last_line = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Opens the bar."""
        self._started = self._epoch_started = self._last_line = time.monotonic()
        self._first_step = trainer.global_step
        if trainer.is_global_zero and self.terminal.is_interactive:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("steps  {task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("left"),
            )
            self._bar = Progress(*columns, console=self.terminal.console, transient=True)
            self._bar.add_task("", total=int(trainer.estimated_stepping_batches), completed=self._first_step, rate="")
            self._bar.start()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Notes when the epoch began."""
        self._epoch_started = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002 - Lightning's signature
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Moves the bar, or says a line when an epoch is long."""
        rate = f"{self.throughput.images_per_second:.0f} images/s"
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=trainer.global_step, rate=rate, description=self._epoch(trainer))
        elif trainer.is_global_zero and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            batches = f"batch {batch_idx + 1}/{trainer.num_training_batches}"
            self.terminal.say(f"{self._epoch(trainer)}  {batches}  {rate}, {self._time_left(trainer)} left")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Says the epoch's result."""
        if not trainer.is_global_zero:
            return
        metrics = trainer.callback_metrics
        parts = [f"{name} {_number(name, float(metrics[name]))}" for name in SHOWN if name in metrics]
        checkpoint = trainer.checkpoint_callback
        if isinstance(checkpoint, RunCheckpoint) and checkpoint.is_best(trainer):
            parts.append("best so far")
        if self.throughput.num_images:  # none where only the validation of this epoch was left
            parts.append(f"{self.throughput.images_per_second:.0f} images/s")
        took = f"took {duration(time.monotonic() - self._epoch_started)}"
        self.terminal.say("  ".join([self._epoch(trainer), *parts, f"{took}, {self._time_left(trainer)} left"]))
        self._last_line = time.monotonic()

    def on_exception(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 - Lightning's signature
        pl_module: lightning.LightningModule,  # noqa: ARG002
        exception: BaseException,  # noqa: ARG002
    ) -> None:
        """Closes the bar: there is no teardown after an exception."""
        self._close()

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Closes the bar."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _epoch(self, trainer: lightning.Trainer) -> str:
        return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"

    def _time_left(self, trainer: lightning.Trainer) -> str:
        done = max(1, trainer.global_step - self._first_step)
        left = max(0, int(trainer.estimated_stepping_batches) - trainer.global_step)
        return duration((time.monotonic() - self._started) / done * left)


def _number(name: str, value: float) -> str:
    return f"{value:.2e}" if name == "lr" else f"{value:.4f}"
