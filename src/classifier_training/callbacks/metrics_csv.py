"""``metrics.csv``: one row an epoch, always whole, without duplicates after a resume."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import lightning

from classifier_training.runs import write_text

FIRST_COLUMNS = (
    "epoch",
    "step",
    "train/loss",
    "val/loss",
    "val/top1",
    "val/top5",
    "val/balanced_accuracy",
    "val/macro_f1",
)


class MetricsCSV(lightning.Callback):
    """Rewrites a CSV file with every metric of every epoch.

    Args:
        path: The file. On a resumed run its rows of epochs that are trained again are replaced.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        self.rows: list[dict[str, str]] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Reads the rows of the epochs that are done."""
        if trainer.current_epoch > 0 and self.path.is_file():
            with self.path.open(encoding="utf-8", newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) < trainer.current_epoch]

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Adds the epoch's row."""
        if not trainer.is_global_zero:
            return
        row = {"epoch": str(trainer.current_epoch), "step": str(trainer.global_step)}
        row |= {name: repr(float(value)) for name, value in trainer.callback_metrics.items()}
        self.rows = [*(old for old in self.rows if old["epoch"] != row["epoch"]), row]
        self._write()

    def _write(self) -> None:
        others = sorted({name for row in self.rows for name in row} - set(FIRST_COLUMNS))
        columns = [*(name for name in FIRST_COLUMNS if any(name in row for row in self.rows)), *others]
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, buffer.getvalue())
