"""Base of the callbacks that plot: a training does not wait for its figures."""

from __future__ import annotations

from collections.abc import Callable

import lightning

from classifier_training.figures.rendering import PlottingBudget

Plot = Callable[[PlottingBudget | None], None]
"""Plots something. Given a budget, it may postpone what that leaves no time for; given None, it plots everything."""


class DeferredPlot(lightning.Callback):
    """Base of the callbacks that plot during a training while there is time, and the rest at its end.

    Args:
        budget: Decides whether there is time to plot during a training; None: one of its own.
    """

    def __init__(self, budget: PlottingBudget | None = None) -> None:
        super().__init__()
        self.budget = budget or PlottingBudget()
        self._postponed: Plot | None = None

    def plot(self, plot: Plot, *, at_once: bool = False) -> None:
        """Plots now, if there is time or ``at_once``, else later; what was postponed before is dropped."""
        self._postponed = plot
        if at_once:
            self._plot_postponed(None)
        elif self.budget.wait(self):
            self._plot_postponed(self.budget)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forgets what another training has postponed, and starts the clock of the budget."""
        self._postponed = None
        _ = self.budget.is_open

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Plots the rest."""
        self._plot_postponed(None)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Plots how far a stopped training came; after a signal only what there is time for."""
        self._plot_postponed(None if isinstance(exception, Exception) else self.budget)

    def _plot_postponed(self, budget: PlottingBudget | None) -> None:
        plot, self._postponed = self._postponed, None
        if plot is not None:
            self.budget.note_plotted(self)
            plot(budget)
