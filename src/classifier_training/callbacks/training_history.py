"""The curves of a training, current after every epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import lightning

from classifier_training.callbacks.deferred_plot import DeferredPlot
from classifier_training.callbacks.epoch_metrics import EpochMetrics
from classifier_training.errors import ConfigError
from classifier_training.figures.history import plot_history, read_history
from classifier_training.figures.rendering import PlottingBudget, save_figure
from classifier_training.warn import warn_instead_of_raise


class TrainingHistoryCallback(DeferredPlot):
    """Plots loss, accuracy, learning rate and images per second over the epochs, the best epoch marked.

    Args:
        path: The image, a PNG file.
        metrics: The ``metrics.csv`` of a run, written by a callback before this one; None: the metrics that the
            Trainer's callbacks see are collected, and kept in checkpoints.
        timings: The ``timings.csv`` of a run; None: speed is not plotted.
        monitor: Name of the metric that decides which epoch is the best.
        mode: Whether a higher (``max``) or a lower (``min``) value of it is better.
        budget: Decides whether there is time to plot during a training; None: one of its own.
    """

    def __init__(
        self,
        path: str | Path,
        metrics: str | Path | None = None,
        timings: str | Path | None = None,
        monitor: str = "val/top1",
        mode: Literal["min", "max"] = "max",
        budget: PlottingBudget | None = None,
    ) -> None:
        super().__init__(budget)
        if mode not in ("min", "max"):
            raise ConfigError(f"TrainingHistoryCallback: mode={mode!r}; allowed are 'min' and 'max'")
        self.path = Path(path)
        self.metrics = None if metrics is None else Path(metrics)
        self.timings = None if timings is None else Path(timings)
        self.monitor = monitor
        self.mode: Literal["min", "max"] = mode
        self._collected: list[dict[str, float]] = []
        self._metrics = EpochMetrics()

    def state_dict(self) -> dict[str, Any]:
        """The metrics that were collected; none where a file has them."""
        return {"collected": [dict(row) for row in self._collected]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        self._collected = [dict(row) for row in state_dict["collected"]]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forgets the epochs that are trained again."""
        super().on_train_start(trainer, pl_module)
        self._collected = [row for row in self._collected if row["epoch"] < trainer.current_epoch]

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Adds the epoch's metrics, and plots them if there is time."""
        if self.metrics is None:
            self._collected.append({"epoch": float(trainer.current_epoch), **self._metrics.read(trainer)})
        if trainer.is_global_zero:
            self.plot(self._plot)

    def _plot(self, _: PlottingBudget | None) -> None:
        with warn_instead_of_raise(self.path.name), self.budget.spending():
            rows = self._collected if self.metrics is None else read_history(self.metrics, self.timings)
            save_figure(plot_history(rows, self.monitor, self.mode), self.path)
