"""Lets all processes of a training know before its first step that a batch is too large for one of them."""

from __future__ import annotations

import lightning

from classifier_training.errors import is_out_of_memory
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.memory_trial import try_batch


class MemoryTrial(lightning.Callback):
    """Tries a batch on every device, where there are several, and raises in all processes alike if one is too small.

    A process that runs out of memory within a step leaves the others waiting for it.

    Args:
        batch_size: Images of a batch.
        image_size: Their side where it is larger than that of the evaluation, pixels.
    """

    def __init__(self, batch_size: int, image_size: int | None = None) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.image_size = image_size

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Tries it.

        Raises:
            MemoryError: It does not fit on one of the devices.
        """
        if trainer.world_size == 1 or not isinstance(pl_module, BaseClassificationModel):
            return
        fits = True
        try:
            precision = trainer.precision_plugin.train_step_context()
            try_batch(pl_module, self.batch_size, precision, self.image_size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            fits = False
        if not trainer.strategy.reduce_boolean_decision(fits):
            raise MemoryError(f"a batch of {self.batch_size} images does not fit into the memory of each device")
