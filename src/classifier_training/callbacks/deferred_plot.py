"""What all callbacks that draw have in common: a training does not wait for its images."""

from __future__ import annotations

from collections.abc import Callable

import lightning

from classifier_training.figures.rendering import PlottingBudget

Drawing = Callable[[PlottingBudget | None], None]
"""Draws something. Given a budget, it may put off what that leaves no time for; given None, it draws everything."""


class DeferredPlot(lightning.Callback):
    """Base of the callbacks that draw within a training while there is time, and at its end what is left.

    Args:
        budget: Decides whether there is time to draw within a training; None: one of its own.
    """

    def __init__(self, budget: PlottingBudget | None = None) -> None:
        super().__init__()
        self.budget = budget or PlottingBudget()
        self._undrawn: Drawing | None = None

    def draw(self, drawing: Drawing, *, at_once: bool = False) -> None:
        """Draws now, if there is time for it or that is asked for, else later; what was put off before is not drawn."""
        self._undrawn = drawing
        if at_once:
            self._draw(None)
        elif self.budget.wait(self):
            self._draw(self.budget)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Forgets what another training has put off, and starts the clock of the budget."""
        self._undrawn = None
        _ = self.budget.is_open

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Draws what is left."""
        self._draw(None)

    def on_exception(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 - Lightning's signature
        pl_module: lightning.LightningModule,  # noqa: ARG002
        exception: BaseException,
    ) -> None:
        """Draws how far a training came that was stopped; whoever stopped it does not wait for what may be put off."""
        self._draw(None if isinstance(exception, Exception) else self.budget)

    def _draw(self, budget: PlottingBudget | None) -> None:
        drawing, self._undrawn = self._undrawn, None
        if drawing is not None:
            self.budget.note_plotted(self)
            drawing(budget)
