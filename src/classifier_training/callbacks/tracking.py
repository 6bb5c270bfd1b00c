"""Sends every epoch to the trackers of a run: TensorBoard, Weights & Biases, MLflow."""

from __future__ import annotations

from pathlib import Path

import lightning

from classifier_training.callbacks.epoch_metrics import EpochMetrics
from classifier_training.run.epoch_table import EpochTable
from classifier_training.run.folder import RunFolder
from classifier_training.tracking.trackers import INTERRUPTED_WAIT_SECONDS, Trackers
from classifier_training.warn import warn_instead_of_raise


class TrackingCallback(lightning.Callback):
    """Sends metrics and figures after each epoch, and what is left when training ends, without waiting.

    It comes after the callbacks that write figures and ``timings.csv``, from which it takes the images per second.

    Args:
        run_root: The run folder.
        trackers: Where to send it; they stay open, because the scores of a run come after its training.
    """

    def __init__(self, run_root: str | Path, trackers: Trackers) -> None:
        super().__init__()
        self.run = RunFolder(Path(run_root))
        self.trackers = trackers
        self._metrics = EpochMetrics()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Sends an epoch."""
        if not trainer.is_global_zero:
            return
        metrics = self._metrics.read(trainer) | self._rate(trainer.current_epoch)
        self.trackers.log_metrics(metrics, step=trainer.global_step, epoch=trainer.current_epoch)
        self.trackers.log_figures()

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Sends the figures that were plotted at the end; closing the trackers waits for them."""
        if trainer.is_global_zero:
            self.trackers.log_figures()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Sends what was reached, without a long wait."""
        if trainer.is_global_zero:
            self.trackers.log_figures()
            self.trackers.flush(INTERRUPTED_WAIT_SECONDS)

    def _rate(self, epoch: int) -> dict[str, float]:
        """The epoch's images per second, where they were written."""
        with warn_instead_of_raise(f"the speed for trackers, from {self.run.timings}"):
            table = EpochTable(self.run.timings, ())
            table.read(epoch + 1)
            rates = [row.get("images_per_second") for row in table.rows if row["epoch"] == str(epoch)]
            return {"images_per_second": float(rates[-1])} if rates and rates[-1] else {}
        return {}
