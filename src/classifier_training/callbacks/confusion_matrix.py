"""The confusion matrix of every validation and test, as a table and as pictures."""

from __future__ import annotations

from pathlib import Path

import lightning

from classifier_training.callbacks.predictions import ReadsPredictions, ScoredPass, scored_folder
from classifier_training.figures.drawing import DrawingBudget, harmless
from classifier_training.scored.confusion_csv import write_confusion_csv
from classifier_training.scored.drawn import draw_confusion_figures


class ConfusionMatrixCallback(ReadsPredictions, lightning.Callback):
    """Writes and draws the confusion matrix after every validation and test: counts, and percent of each class.

    Needs what `PredictionsCallback` needs; collects it itself in a Trainer that has none.

    Args:
        folder: The run folder; ``confusion_matrix.csv``, ``confusion_matrix.png`` and
            ``confusion_matrix_normalized.png`` are written into its ``val/`` and ``test/``.
        budget: Decides whether there is time to draw within a training; None: one of its own.
    """

    def __init__(self, folder: str | Path, budget: DrawingBudget | None = None) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.budget = budget or DrawingBudget()
        self._undrawn: ScoredPass | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Starts the clock of the budget."""
        self._undrawn = None
        _ = self.budget.is_open

    def on_pass_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, scored: ScoredPass) -> None:  # noqa: ARG002
        """Writes the table, and draws if there is time."""
        folder = scored_folder(self.folder, scored)
        with harmless(str(folder.confusion)):
            write_confusion_csv(folder.confusion, scored.scores.confusion, scored.classes)
        self._undrawn = scored
        if scored.epoch is None or self.budget.is_open:
            self._draw()

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Draws what is left."""
        self._draw()

    def on_exception(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 - Lightning's signature
        pl_module: lightning.LightningModule,  # noqa: ARG002
        exception: BaseException,  # noqa: ARG002
    ) -> None:
        """Draws how far a training came that was stopped."""
        self._draw()

    def _draw(self) -> None:
        scored, self._undrawn = self._undrawn, None
        if scored is None:
            return
        folder = scored_folder(self.folder, scored)
        with harmless(f"the confusion matrix in {folder.root}"), self.budget.spending():
            draw_confusion_figures(folder, scored.scores.confusion, scored.classes, title=scored.title)
