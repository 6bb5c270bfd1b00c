"""``metrics.csv``: one row an epoch, always whole, without duplicates after a resume."""

from __future__ import annotations

from pathlib import Path

import lightning

from classifier_training.callbacks.epoch_metrics import EpochMetrics
from classifier_training.metrics.score_names import SCORE_TITLES
from classifier_training.run.epoch_table import EpochTable

FIRST_COLUMNS = ("epoch", "step", "train/loss", "val/loss", *(f"val/{name}" for name in SCORE_TITLES))


class MetricsCSV(lightning.Callback):
    """Rewrites a CSV file with every metric of every epoch.

    Args:
        path: The file. On a resumed run its rows of epochs that are trained again are replaced.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.table = EpochTable(Path(path), FIRST_COLUMNS[1:])
        self._metrics = EpochMetrics()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Reads the rows of the epochs that are done."""
        self.table.read(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Adds the epoch's row."""
        if not trainer.is_global_zero:
            return
        metrics = {name: repr(value) for name, value in self._metrics.read(trainer).items()}
        self.table.write(trainer.current_epoch, {"step": str(trainer.global_step), **metrics})
