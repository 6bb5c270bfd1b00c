"""Images per second of training, once an epoch."""

from __future__ import annotations

import time
from collections.abc import Sized
from pathlib import Path
from typing import Any, Final

import lightning

from classifier_training.callbacks.accuracy_forecast import AccuracyForecast
from classifier_training.callbacks.prediction_source import parts_of
from classifier_training.run.epoch_table import EpochTable

FORECAST_COLUMNS: Final = ("forecast", "forecast_low", "forecast_high")


class Throughput(lightning.Callback):
    """Measures the images per second of the training part of an epoch, loading included and validation not.

    The rate goes to the trainer's loggers as ``images_per_second`` and, with the seconds, into a file of its own: what
    the clock decides is kept apart from the metrics, which are the same for every repetition of a run.

    Images are counted by ``batch["labels"]`` or ``batch[1]``; other batches are not counted.

    Args:
        path: A CSV file that gets a row an epoch; None: no file. The row of an epoch that is resumed in its middle
            holds what came after the resume.
        forecast: Gives its forecasts to that file, too, as they depend on the clock.
    """

    def __init__(self, path: str | Path | None = None, forecast: AccuracyForecast | None = None) -> None:
        super().__init__()
        self.forecast = forecast
        self.table = (
            None if path is None else EpochTable(Path(path), ("seconds", "images_per_second", *FORECAST_COLUMNS))
        )
        self.num_images = 0
        self.seconds = 0.0
        self._started = self._stopped = 0.0

    @property
    def images_per_second(self) -> float:
        """The rate since the epoch began; 0 before the first batch."""
        return self.num_images / self.seconds if self.seconds > 0 else 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts the clock."""
        self._start()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts the clock of an epoch that is resumed, and reads the rows of the epochs that are done."""
        self._start()
        if self.table is not None:
            self.table.read(trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts a batch."""
        labels = parts_of(batch).get("labels")
        self.num_images += len(labels) * trainer.world_size if isinstance(labels, Sized) else 0
        self.seconds = time.perf_counter() - self._started

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stops the clock, also in the middle of an epoch."""
        self._stopped = time.perf_counter()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts the clock again."""
        self._started += time.perf_counter() - self._stopped

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Logs the epoch's rate; nothing if a resumed run only had to validate the epoch."""
        if self.num_images == 0 or not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.log_metrics({"images_per_second": self.images_per_second}, step=trainer.global_step)
        if self.table is not None:
            values = {"seconds": f"{self.seconds:.3f}", "images_per_second": f"{self.images_per_second:.1f}"}
            latest = None if self.forecast is None else self.forecast.latest
            if latest is not None:
                values |= dict(zip(FORECAST_COLUMNS, (f"{value:.4f}" for value in latest), strict=True))
            self.table.write(trainer.current_epoch, values)

    def _start(self) -> None:
        self.num_images, self.seconds, self._started = 0, 0.0, time.perf_counter()
