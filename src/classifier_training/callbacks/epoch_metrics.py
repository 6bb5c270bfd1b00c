"""The metrics of an epoch, without leftovers of earlier ones."""

from __future__ import annotations

import lightning
from torch import Tensor


class EpochMetrics:
    """Reads what a Trainer's callbacks see, without the values of an earlier epoch's validation.

    A Trainer that validates every few epochs keeps showing the last values; a newly logged value is another tensor.
    """

    def __init__(self) -> None:
        self._last: dict[str, Tensor] = {}

    def read(self, trainer: lightning.Trainer) -> dict[str, float]:
        """The metrics by name; call it once an epoch, at its end."""
        last, self._last = self._last, dict(trainer.callback_metrics)
        return {name: float(value) for name, value in self._last.items() if value is not last.get(name)}
