"""The metrics of an epoch, for whoever writes them down."""

from __future__ import annotations

import lightning
from torch import Tensor


class EpochMetrics:
    """Reads what a Trainer's callbacks see, without what the validation of an earlier epoch has left there.

    A Trainer that validates every few epochs goes on showing the last values; what is logged anew is another tensor.
    """

    def __init__(self) -> None:
        self._last: dict[str, Tensor] = {}

    def read(self, trainer: lightning.Trainer) -> dict[str, float]:
        """The metrics by name; call it once an epoch, at its end."""
        last, self._last = self._last, dict(trainer.callback_metrics)
        return {name: float(value) for name, value in self._last.items() if value is not last.get(name)}
