"""A clock that a training moves itself, so that tests of a time limit do not depend on the time."""

from __future__ import annotations

from typing import Any

import lightning


class Clock:
    """Shows seconds that only tests move."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.seconds


class Ticking(lightning.Callback):
    """Moves a clock by what batches and validations take, and notes the learning rate of each step.

    Args:
        clock: To move.
        step: Seconds of a batch.
        validation: Seconds of a validation.
    """

    def __init__(self, clock: Clock, step: float = 1.0, validation: float = 2.0) -> None:
        self.clock, self.step, self.validation = clock, step, validation
        self.rates: list[float] = []
        self.num_validations = 0

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """A batch is done."""
        self.clock.seconds += self.step
        self.rates.append(float(trainer.optimizers[0].param_groups[0]["lr"]))

    def on_validation_end(self, *_: Any) -> None:
        """A validation is done."""
        self.clock.seconds += self.validation
        self.num_validations += 1
