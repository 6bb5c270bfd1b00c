"""``report.html``: the run on one page, current after each epoch."""

from __future__ import annotations

import time
from pathlib import Path

import lightning

from classifier_training.figures.rendering import PlottingBudget
from classifier_training.files.atomic import write_text
from classifier_training.run.folder import RunFolder
from classifier_training.warn import warn_instead_of_raise

CHEAP_SECONDS = 0.25


class ReportCallback(lightning.Callback):
    """Writes the page of a run after each epoch, and when the training ends, however it ends.

    It reads what the other callbacks have written, so it comes after all of them in the list. In a folder without the
    ``config.yaml`` of a run it does nothing.

    A page that took less than a quarter of a second is always written; one that took longer, of a thousand classes and
    images, waits for the budget. At the end it is always written.

    Args:
        run_root: The run folder.
        budget: The time for plotting that a run shares; None: one of its own.
    """

    def __init__(self, run_root: str | Path, budget: PlottingBudget | None = None) -> None:
        super().__init__()
        self.run = RunFolder(Path(run_root))
        self.budget = budget or PlottingBudget()
        self.seconds = 0.0

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Writes the page of what is done, unless that would take too long."""
        if trainer.is_global_zero and (self.seconds < CHEAP_SECONDS or self.budget.is_open):
            self._write()

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Writes the page of the whole training."""
        if trainer.is_global_zero:
            self._write()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Writes the page of what was done until then."""
        if trainer.is_global_zero:
            self._write()

    def _write(self) -> None:
        if not self.run.config.is_file():
            return
        started = time.monotonic()
        with warn_instead_of_raise(self.run.report.name), self.budget.spending():
            from classifier_training.pages.read.run_data import read_run
            from classifier_training.pages.report import render_report

            started = time.monotonic()  # importing costs once and says nothing of the next page
            write_text(self.run.report, render_report(read_run(self.run.root)), durable=False)
        self.seconds = time.monotonic() - started
