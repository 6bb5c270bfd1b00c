"""How many batches and optimizer steps a Trainer makes."""

from __future__ import annotations

import math

import lightning

from classifier_training.errors import ConfigError


def num_accumulated(trainer: lightning.Trainer, batch_idx: int) -> int:
    """Batches whose gradients the optimizer step of a batch adds up: fewer at the end of an epoch."""
    full, num_batches = trainer.accumulate_grad_batches, trainer.num_training_batches
    if full == 1 or math.isinf(num_batches):
        return full
    return min(full, int(num_batches) - batch_idx // full * full)


def training_length(trainer: lightning.Trainer) -> tuple[int, float]:
    """Optimizer steps and epochs of the whole training, which ``max_steps`` may end in the middle of an epoch.

    Raises:
        ConfigError: It has no end.
    """
    if trainer.max_steps != -1 and trainer.train_dataloader is None:
        trainer.fit_loop.setup_data()  # Lightning does so itself only where there is a number of epochs
    total_steps = trainer.estimated_stepping_batches
    if not 0 <= total_steps < math.inf:
        raise ConfigError(
            "the learning rate schedule needs to know how long the training is; give the Trainer max_epochs or"
            " max_steps, and the loader a length"
        )
    max_epochs = trainer.max_epochs or 1
    if trainer.max_steps != -1 and math.isfinite(trainer.num_training_batches):
        steps_of_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        return int(total_steps), total_steps / max(1, steps_of_epoch)
    return int(total_steps), float(max(1, max_epochs))
