"""Progress of a training: a bar on a screen, a line an epoch everywhere."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import lightning
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from torch import Tensor

from classifier_training.callbacks.accuracy_forecast import AccuracyForecast
from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.callbacks.epoch_metrics import EpochMetrics
from classifier_training.callbacks.throughput import Throughput
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.late_number import LateNumber
from classifier_training.models.steps import num_accumulated
from classifier_training.run.time_budget import TimeBudget
from classifier_training.terminal.terminal import SECONDS_BETWEEN_LINES, Terminal, duration

SECONDS_BETWEEN_LOOKS = 0.2
"""The bar moves, and a loss is fetched from its device, at most this often."""
MIN_WIDTH_OF_ONE_LINE = 120
"""Columns of a screen; on a narrower one the text next to the bar takes two lines."""
SHOWN = ("train/loss", "val/loss", "val/top1", "val/balanced_accuracy", "lr")


class TrainingProgress(lightning.Callback):
    """Shows epoch, step, loss, monitored metric, images/s and time left, and prints every epoch's result in one line.

    The loss is that of a step a moment ago, on this rank: nothing waits for the device.

    Args:
        terminal: Where messages go.
        throughput: Measures the images per second.
        budget: The time of a training that has a limit, which says how much is left.
        forecast: What the training will reach, as far as is known.
    """

    def __init__(
        self,
        terminal: Terminal,
        throughput: Throughput,
        budget: TimeBudget | None = None,
        forecast: AccuracyForecast | None = None,
    ) -> None:
        super().__init__()
        self.budget = budget
        self.forecast = forecast
        self.terminal = terminal
        self.throughput = throughput
        self._bar: Progress | None = None
        self._training = self._validation = TaskID(0)
        self._loss = LateNumber()
        self._scored: list[str] = []
        self._break = "  "
        self._started = self._epoch_started = self._last_line = self._last_look = 0.0
        self._first_step = 0
        self._metrics = EpochMetrics()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Opens the bar."""
        self._started = self._epoch_started = self._last_line = time.monotonic()
        self._last_look = 0.0
        self._first_step = trainer.global_step
        self._loss, self._scored = LateNumber(), []
        if trainer.is_global_zero and self.terminal.is_interactive:
            self._bar = self._open(trainer)
            self._bar.start()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Notes when the epoch began."""
        self._epoch_started = time.monotonic()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the bar, or prints a line when an epoch is long."""
        now = time.monotonic()
        is_time_to_look = now - self._last_look >= SECONDS_BETWEEN_LOOKS or trainer.is_last_batch
        if not trainer.is_global_zero or not is_time_to_look:
            return
        self._last_look = now
        # Lightning divides by the full number, which only our model corrects at the end of an epoch
        is_ours = isinstance(pl_module, BaseClassificationModel)
        divided_by = num_accumulated(trainer, batch_idx) if is_ours else trainer.accumulate_grad_batches
        self._loss.update(_loss_of(outputs, divided_by))
        if self._bar is not None:
            total = _finite(trainer.estimated_stepping_batches)  # a time limit makes it follow the clock
            self._bar.update(
                self._training,
                total=total,
                of=_count(total),
                completed=trainer.global_step,
                description=self._epoch(trainer),
                status=self._break.join([f"{self._time_left(trainer)} left", "  ".join(self._numbers())]),
            )
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            batches = f"batch {batch_idx + 1}/{trainer.num_training_batches}"
            numbers = "  ".join(self._numbers())
            self.terminal.info(f"{self._epoch(trainer)}  {batches}  {numbers}, {self._time_left(trainer)} left")

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Shows a second bar."""
        if self._bar is not None:
            total = _finite(sum(trainer.num_val_batches))
            self._bar.reset(self._validation, total=total, visible=True, unit="batch", of=_count(total), status="")

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Moves the second bar."""
        if self._bar is not None:
            self._bar.advance(self._validation)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Hides the second bar."""
        if self._bar is not None:
            self._bar.update(self._validation, visible=False)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Prints the epoch's result."""
        if not trainer.is_global_zero:
            return
        metrics = self._metrics.read(trainer)
        parts = [f"{name} {_number(name, metrics[name])}" for name in SHOWN if name in metrics]
        checkpoint = trainer.checkpoint_callback
        monitor = checkpoint.monitor if isinstance(checkpoint, RunCheckpoint) else "val/top1"
        self._scored = [f"{monitor} {_number(monitor, metrics[monitor])}"] if monitor in metrics else self._scored
        if isinstance(checkpoint, RunCheckpoint) and checkpoint.is_best(trainer):
            parts.append("best so far")
        if self.forecast is not None and self.forecast.latest is not None:
            parts.append(f"at the end {self.forecast.latest}")
        if self.throughput.num_images:  # none where only the validation of this epoch was left
            parts.append(f"{self.throughput.images_per_second:.0f} images/s")
        took = f"took {duration(time.monotonic() - self._epoch_started)}"
        self.terminal.info("  ".join([self._epoch(trainer), *parts, f"{took}, {self._time_left(trainer)} left"]))
        self._last_line = time.monotonic()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Closes the bar: Lightning calls no teardown after an exception."""
        self._close()

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Closes the bar."""
        self._close()

    def _open(self, trainer: lightning.Trainer) -> Progress:
        console = self.terminal.console
        self._break = "  " if console.width >= MIN_WIDTH_OF_ONE_LINE else "\n"
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[unit]} {task.completed}/{task.fields[of]}  {task.fields[status]}"),
        )
        progress = self.terminal.progress_bars(*columns)
        total = _finite(trainer.estimated_stepping_batches)
        self._training = progress.add_task(
            self._epoch(trainer), total=total, completed=self._first_step, unit="step", of=_count(total), status=""
        )
        self._validation = progress.add_task("validation", total=None, visible=False, unit="batch", of="", status="")
        return progress

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _numbers(self) -> list[str]:
        """The latest loss, the monitored metric of the epoch before, and the speed; what is not known is left out."""
        loss = [] if self._loss.value is None else [f"loss {self._loss.value:.4f}"]
        return [*loss, *self._scored, f"{self.throughput.images_per_second:.0f} images/s"]

    def _epoch(self, trainer: lightning.Trainer) -> str:
        return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"

    def _time_left(self, trainer: lightning.Trainer) -> str:
        if self.budget is not None:
            return duration(max(0.0, self.budget.left))
        total = _finite(trainer.estimated_stepping_batches)
        if total is None:
            return "unknown time"
        done = max(1, trainer.global_step - self._first_step)
        left = max(0, total - trainer.global_step)
        return duration((time.monotonic() - self._started) / done * left)


def _loss_of(outputs: Any, divided_by: int) -> Tensor | None:
    """The loss of a training step, which is divided by the number of batches that are accumulated."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    return loss.detach() * divided_by if isinstance(loss, Tensor) and loss.numel() == 1 else None


def _count(total: int | None) -> str:
    return "?" if total is None else str(total)


def _finite(count: float) -> int | None:
    """A number of batches; None where a training has no end."""
    return int(count) if math.isfinite(count) else None


def _number(name: str, value: float) -> str:
    return f"{value:.2e}" if name == "lr" else f"{value:.4f}"
