"""Images per second of training, once an epoch."""

from __future__ import annotations

import time
from typing import Any

import lightning

from classifier_training.types import ClassificationBatch


class Throughput(lightning.Callback):
    """Logs ``images_per_second`` over the training part of an epoch, loading included and validation not.

    Images are counted by ``batch["labels"]``, so batches must be mappings such as `ClassificationBatch`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.num_images = 0
        self.seconds = 0.0
        self._started = 0.0

    @property
    def images_per_second(self) -> float:
        """The rate since the epoch began; 0 before the first batch."""
        return self.num_images / self.seconds if self.seconds > 0 else 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Starts the clock."""
        self._start()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Starts the clock of an epoch that goes on after a resume."""
        self._start()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,  # noqa: ARG002
        batch: ClassificationBatch,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Counts a batch."""
        self.num_images += len(batch["labels"]) * trainer.world_size
        self.seconds = time.perf_counter() - self._started
        if trainer.is_last_batch:
            pl_module.log("images_per_second", self.images_per_second, on_step=False, on_epoch=True, batch_size=1)

    def _start(self) -> None:
        self.num_images, self.seconds, self._started = 0, 0.0, time.perf_counter()
