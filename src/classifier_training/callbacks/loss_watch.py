"""Ends a training that has diverged within seconds, and not at the end of its epoch."""

from __future__ import annotations

import math
import time
from typing import Any

import lightning

from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.finite import diverged
from classifier_training.models.late_number import LateNumber
from classifier_training.run.agreement import Agreement, agree_with_all

SECONDS_BETWEEN_LOOKS = 5.0


class LossWatch(lightning.Callback):
    """Looks at the running sum of the training loss every few seconds, which no step waits for.

    The sum is not a finite number any more from the first loss on that is not; steps that a gradient scaler skips are
    not in it. Of several processes all end at the same step. Other modules than ours are not watched.

    Args:
        seconds: Time between two looks.
    """

    def __init__(self, seconds: float = SECONDS_BETWEEN_LOOKS) -> None:
        super().__init__()
        self.seconds = seconds
        self._sum = LateNumber()
        self._looked_at = 0.0
        self._agreement: Agreement | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts the clock."""
        self._sum, self._looked_at = LateNumber(), time.monotonic()
        self._agreement = agree_with_all("diverged")

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ends the training if the loss is not a finite number; at the end of an epoch the module itself does.

        Raises:
            DivergedError: It is not.
        """
        if trainer.is_last_batch or not isinstance(pl_module, BaseClassificationModel):
            return
        if time.monotonic() - self._looked_at >= self.seconds:
            self._looked_at = time.monotonic()
            self._sum.update(pl_module.train_loss.mean_value)
        has_diverged = self._sum.value is not None and not math.isfinite(self._sum.value)
        if self._agreement is not None:
            if has_diverged:
                self._agreement.request(1)
            has_diverged = self._agreement.reach() > 0
        if has_diverged:
            seen = "not finite" if self._sum.value is None else str(self._sum.value)
            raise diverged(f"the loss is {seen} since a step of the last seconds", pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Ends the agreement of the ranks."""
        self._end()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Ends the agreement of the ranks."""
        self._end()

    def _end(self) -> None:
        if self._agreement is not None:
            self._agreement.close()
            self._agreement = None
