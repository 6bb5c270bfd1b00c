"""Ctrl-C, SIGTERM, SIGUSR1: finish the step, write ``last.ckpt``, stop. A second Ctrl-C stops at once."""

from __future__ import annotations

import signal
from typing import Any, cast

import lightning
import torch

from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.errors import TrainingStopped
from classifier_training.run.agreement import Agreement, agree_with_all
from classifier_training.run.stop_requests import StopRequests


class GracefulStop(lightning.Callback):
    """Turns the first request to stop into a stop between two optimizer steps, where a checkpoint is exact.

    A signal in the middle of a step could leave half-updated weights. During validation the stop comes after the
    batch, with a checkpoint from which the validation is repeated. When one process of several was asked, all stop at
    the same step, the first that none of them has finished when they hear of it, a fraction of a second later: no step
    waits for the other processes to ask them. A stop for Ctrl-C is a ``KeyboardInterrupt``, one for SIGTERM or SIGUSR1
    a `TrainingStopped`, which ends a program that does not catch it with exit code 0: being preempted is not a failure.

    Args:
        requests: Where requests are noted; None: this callback's own, for SIGINT and SIGTERM, and for SIGUSR1 where
            no other handler is set.
    """

    def __init__(self, requests: StopRequests | None = None) -> None:
        super().__init__()
        self.requests = requests or StopRequests()
        self._num_val_batches = 0.0
        self._agreement: Agreement | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Takes over the signals."""
        self.requests.postpone()
        self._agreement = agree_with_all("stop")
        if self._agreement is not None:
            # Lightning's loop asks rank 0 before every step whether it has had a SIGTERM, which comes here instead
            cast("Any", trainer.fit_loop.epoch_loop)._broadcast_sigterm_tensor = _ask_nobody

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops here when asked to; the epoch's last batch leaves it to validation or the end of the epoch."""
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if stepped and not trainer.is_last_batch:
            self._stop_if_asked(trainer, save=True)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Finds out how many batches every rank has: they can only agree on a stop where all of them are."""
        counts = trainer.num_val_batches
        self._num_val_batches = counts[0] if trainer.state.fn == "fit" and len(counts) == 1 else 0
        if trainer.world_size > 1 and trainer.state.fn == "fit":
            self._num_val_batches = _reduce(trainer, self._num_val_batches, "min")

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stops here when asked to; the last batch leaves it to the end of the epoch."""
        if batch_idx + 1 < self._num_val_batches and not trainer.sanity_checking:
            self._stop_if_asked(trainer, save=True)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stops before the next epoch when asked to: the last one is on disk."""
        if trainer.global_step > 0:
            self._stop_if_asked(trainer, save=False, meet=True)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Restores the signal handlers, and stops before anything else is done with the trained model when asked to."""
        self.requests.end_postponement()
        try:
            self._stop_if_asked(trainer, save=False, meet=True)
        finally:
            self._end_agreement(trainer)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Restores the signal handlers: Lightning calls no teardown after an exception."""
        self.requests.end_postponement()
        self._end_agreement(trainer)

    def _stop_if_asked(self, trainer: lightning.Trainer, *, save: bool, meet: bool = False) -> None:
        """Stops all ranks when any was asked; ``meet`` lets them wait for each other, to hear of every request."""
        number = int(self.requests.received or 0)
        if self._agreement is not None and not meet:
            if number:
                self._agreement.request(number)
            number = self._agreement.reach()
        elif trainer.world_size > 1:
            number = int(_reduce(trainer, number, "max"))
        if number == 0:
            return
        self.requests.are_agreed = True
        if save and isinstance(trainer.checkpoint_callback, RunCheckpoint):
            trainer.checkpoint_callback.save_last(trainer)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise TrainingStopped(signal.Signals(number).name)

    def _end_agreement(self, trainer: lightning.Trainer) -> None:
        if self._agreement is not None:
            self._agreement.close()
            self._agreement = None
            del cast("Any", trainer.fit_loop.epoch_loop)._broadcast_sigterm_tensor  # Lightning's own is restored


def _ask_nobody() -> None:
    """In place of a broadcast of Lightning's."""


def _reduce(trainer: lightning.Trainer, value: float, operation: str) -> float:
    """The smallest (``min``) or largest (``max``) value of all ranks."""
    tensor = torch.tensor(float(value), device=trainer.strategy.root_device)
    reduced = trainer.strategy.reduce(tensor, reduce_op=operation)
    return float(reduced)
