"""The confusion matrix of every validation and test, as a table and as images."""

from __future__ import annotations

from pathlib import Path

import lightning

from classifier_training.callbacks.deferred_plot import DeferredPlot
from classifier_training.callbacks.predictions import PredictionsCallback, ReadsPredictions, scored_folder
from classifier_training.figures.rendering import PlottingBudget
from classifier_training.results.figures import plot_confusion_figures
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.results.tables import write_confusion_csv
from classifier_training.warn import warn_instead_of_raise


class ConfusionMatrixCallback(ReadsPredictions, DeferredPlot):
    """Writes and plots the confusion matrix after every validation and test: counts, and percent of each class.

    Needs what `PredictionsCallback` needs, and collects the predictions itself in a Trainer without one.

    Args:
        folder: The run folder; ``confusion_matrix.csv``, ``confusion_matrix.png`` and
            ``confusion_matrix_normalized.png`` are written into its ``val/`` and ``test/``.
        budget: Decides whether there is time to plot during a training; None: one of its own.
    """

    def __init__(self, folder: str | Path, budget: PlottingBudget | None = None) -> None:
        super().__init__(budget=budget)
        self.folder = Path(folder)

    def on_pass_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, scored: ScoredPass) -> None:
        """Writes the table, unless a `PredictionsCallback` does, and plots if there is time."""
        folder = scored_folder(self.folder, scored)
        others = trainer.callbacks  # type: ignore[attr-defined]
        if not any(isinstance(other, PredictionsCallback) and other.folder == self.folder for other in others):
            with warn_instead_of_raise(str(folder.confusion)):
                write_confusion_csv(folder.confusion, scored.scores.cells, scored.classes)

        def plot(_: PlottingBudget | None) -> None:
            with warn_instead_of_raise(f"the confusion matrix in {folder.root}"), self.budget.spending():
                plot_confusion_figures(folder, scored)

        self.plot(plot, at_once=scored.epoch is None)
