"""Lets a training resume within an epoch with smaller batches of which a step accumulates more, or the other way."""

from __future__ import annotations

from typing import Any

import lightning


class BatchPosition(lightning.Callback):
    """Counts the batches of a checkpoint in those of this training.

    A step keeps its images where ``batch_size`` times ``accumulate_grad_batches`` stays the same; what changes is the
    number of batches that came before it. The data module seeks to the new one, and Lightning counts from it.
    """

    def __init__(self) -> None:
        super().__init__()

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Converts Lightning's count of batches, where the step of a checkpoint had another number of them."""
        now = trainer.accumulate_grad_batches
        before = checkpoint.get("ImageFolderDataModule", {}).get("accumulate_grad_batches", now)
        if before == now or "loops" not in checkpoint:
            return
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        current, total = progress["current"], progress["total"]
        num_before = current["ready"]
        num_now = num_before * now // before
        for name, value in current.items():
            # what is not completed yet is the one batch that is in hand
            current[name] = num_now - (num_before - value)
            total[name] += num_now - num_before
