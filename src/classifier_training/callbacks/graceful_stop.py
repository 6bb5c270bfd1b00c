"""Ctrl-C: finish the step, write ``last.ckpt``, stop. A second Ctrl-C stops at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

import lightning

from classifier_training.callbacks.checkpoint import RunCheckpoint

STDERR = 2


class GracefulStop(lightning.Callback):
    """Turns the first interrupt into a stop between two optimizer steps, where a checkpoint is exact.

    An interrupt in the middle of a step could leave half-updated weights. During validation the stop waits for the
    end of the epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requested = False
        self._previous: Any = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Takes over the interrupt signal; only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._request)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002 - Lightning's signature
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Stops here when asked to; the epoch's last batch leaves it to the end of the epoch."""
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if self._agreed(trainer) and stepped and not trainer.is_last_batch:
            if isinstance(trainer.checkpoint_callback, RunCheckpoint):
                trainer.checkpoint_callback.save_last(trainer)
            raise KeyboardInterrupt

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Stops before the next epoch when asked to: the last one is on disk."""
        if self._agreed(trainer) and trainer.global_step > 0:
            raise KeyboardInterrupt

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Gives the interrupt signal back; after an exception Lightning does that."""
        self._release()

    def _request(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's signature
        self.requested = True
        signal.signal(signal.SIGINT, self._previous)  # the next interrupt is Python's own: at once
        # print() fails when the signal came in the midst of another print()
        os.write(STDERR, b"\nstopping after this step, last.ckpt will be written; press Ctrl-C again to stop at once\n")

    def _release(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _agreed(self, trainer: lightning.Trainer) -> bool:
        """Whether any rank was asked to stop; on one device this costs nothing."""
        if trainer.world_size == 1:
            return self.requested
        return not trainer.strategy.reduce_boolean_decision(not self.requested, all=True)
