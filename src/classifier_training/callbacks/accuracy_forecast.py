"""Forecast of the accuracy at the end of a training, after each epoch."""

from __future__ import annotations

from typing import Any

import lightning

from classifier_training.metrics.forecast import Curve, Forecast, forecast
from classifier_training.run.time_budget import TimeBudget
from classifier_training.terminal.terminal import duration

MONITOR = "val/top1"


class AccuracyForecast(lightning.Callback):
    """Forecasts the best validation accuracy of a training that a time limit ends, for those who show it.

    Args:
        budget: The time, which says how many epochs are left.
        max_epochs: Epochs after which the training ends before its time; None: it does not.
        val_images: Validation images; None: those of the data module.
    """

    def __init__(self, budget: TimeBudget, max_epochs: int | None = None, val_images: int | None = None) -> None:
        super().__init__()
        self.budget = budget
        self.max_epochs = max_epochs
        self.val_images = val_images
        self.latest: Forecast | None = None
        self._top1: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        """The curve so far."""
        return {"top1": list(self._top1)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        self._top1 = list(state_dict["top1"])

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forecasts; `TimeLimit` has measured the epoch before."""
        value = trainer.callback_metrics.get(MONITOR)
        if value is None:
            return
        self._top1.append(float(value))
        left = 0.0 if self.budget.is_over else self.budget.epochs_left
        if self.max_epochs is not None:
            left = min(left, self.max_epochs - trainer.current_epoch - 1)
        num_images = self.val_images or _num_val_images(trainer)
        curve = Curve(tuple(self._top1), len(self._top1) + left, num_images, self.budget.probe)
        self.latest = forecast(curve)


def forecast_from_probe(
    budget: TimeBudget, max_epochs: int | None, val_images: int, top1: float
) -> tuple[Forecast, str]:
    """What the training will reach, by the validation accuracy of the probe that it starts from; also as a sentence."""
    budget.probe = top1
    epochs = budget.epochs_left if max_epochs is None else min(budget.epochs_left, max_epochs)
    known = forecast(Curve((), max(epochs, 1.0), val_images, top1))
    assert known is not None  # noqa: S101 - the probe is known
    line = (
        f"forecast: val/top1 {known} at the end, because the probe has {top1:.0%} after {duration(budget.spent)},"
        f" about {epochs:.0f} epochs fit, and one takes about {duration(budget.costs.epoch)}"
    )
    return known, line


def _num_val_images(trainer: lightning.Trainer) -> int:
    """Validation images of all ranks, as far as the loaders tell."""
    loaders = trainer.val_dataloaders
    loaders = loaders if isinstance(loaders, list) else [loaders]
    return max(1, sum(len(one.dataset) for one in loaders if hasattr(one, "dataset")))
