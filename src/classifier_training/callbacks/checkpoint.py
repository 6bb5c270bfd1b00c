"""Best and last checkpoint of a run, each written whole or not at all."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Final

import lightning
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from classifier_training.callbacks.best_epochs import BestEpochs
from classifier_training.callbacks.ema import PRECISE_AVERAGE_KEY, TRAINING_STATE_KEY
from classifier_training.errors import ConfigError
from classifier_training.metrics.best_epoch import EpochScore, Mode, is_better
from classifier_training.models.checkpoint import write_checkpoint
from classifier_training.models.finite import diverged, first_not_finite
from classifier_training.run.agreement import Agreement, agree_with_all
from classifier_training.run.checkpoint_files import link_or_copy, replace_last_checkpoint

VALIDATION_LEFT = "validation_left"
"""Key of a checkpoint that was saved after the training part of an epoch, before its validation was done."""


SAVED_TENSORS: Final = ("state_dict", TRAINING_STATE_KEY, PRECISE_AVERAGE_KEY, "optimizer_states")
"""Keys of a checkpoint whose tensors must be finite numbers."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name and renames it, so a kill or a full disk never leaves half of one.

    Equal checkpoints are equal files, whether or not the run was resumed before.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes one checkpoint.

        Raises:
            OSError: The disk is full or the folder cannot be written; what was at ``path`` is untouched.
        """
        if storage_options is not None:
            raise TypeError("AtomicCheckpointIO writes to local folders and takes no storage_options")
        write_checkpoint(checkpoint, Path(path))


class RunCheckpoint(Checkpoint):
    """Writes ``best.ckpt`` when the monitored metric improves and ``last.ckpt`` after every epoch.

    Which epoch is the best is decided by `is_better`.

    Both are written at the very end of an epoch, when validation is done, so that a resumed run starts with the next
    epoch. In the middle of an epoch ``last.ckpt`` is written between two optimizer steps; where it is due at the last
    one, it is written before validation, which a resumed run then begins with. The state holds no paths: a run folder
    may be moved.

    Args:
        dirpath: Folder of the files.
        monitor: Name of a logged metric.
        mode: Whether a higher (``max``) or a lower (``min``) value is better.
        every_n_steps: Write ``last.ckpt`` every N optimizer steps too.
        every_n_minutes: Write ``last.ckpt`` when the last one is this old, too, by the clock of the first rank.
        keep_last: Number of checkpoints to keep, best one aside: ``last.ckpt`` and, before it, ``last-1.ckpt`` ….
        keep_best: Number of epochs, the best ones, whose weights are kept as ``epoch-<number>.ckpt``, too.
    """

    def __init__(
        self,
        dirpath: str | Path,
        monitor: str = "val/top1",
        mode: Mode = "max",
        every_n_steps: int | None = None,
        every_n_minutes: float | None = None,
        keep_last: int = 2,
        keep_best: int = 0,
    ) -> None:
        super().__init__()
        if mode not in ("min", "max"):
            raise ConfigError(f"RunCheckpoint: mode={mode!r}; allowed are 'min' and 'max'")
        if every_n_steps is not None and every_n_steps < 1:
            raise ConfigError(f"RunCheckpoint: every_n_steps={every_n_steps}; allowed are 1, 2, … or None")
        if every_n_minutes is not None and not every_n_minutes > 0:
            raise ConfigError(f"RunCheckpoint: every_n_minutes={every_n_minutes}; allowed are numbers > 0 or None")
        if keep_last < 1:
            raise ConfigError(f"RunCheckpoint: keep_last={keep_last}; allowed are 1, 2, …")
        if keep_best < 0:
            raise ConfigError(f"RunCheckpoint: keep_best={keep_best}; allowed are 0, 1, …")
        self.dirpath = Path(dirpath)
        self.monitor = monitor
        self.mode = mode
        self.every_n_steps = every_n_steps
        self.every_n_minutes = every_n_minutes
        self.keep_last = keep_last
        self.best_epochs = BestEpochs(self.dirpath, keep_best, mode)
        self.best_model_score: float | None = None
        self.best_epoch: int | None = None
        self.best_loss: float | None = None
        self._is_kept = False  # the weights of the checkpoint that is being written
        self._last_saved_step = -1
        self._last_saved_at = 0.0
        self._agreement: Agreement | None = None

    @property
    def best_model_path(self) -> str:
        """The best checkpoint; empty before the first one, as Lightning expects."""
        path = self.dirpath / "best.ckpt"
        return str(path) if self.best_epoch is not None and path.is_file() else ""

    @property
    def last_model_path(self) -> str:
        """The last checkpoint; empty before the first one."""
        path = self.dirpath / "last.ckpt"
        return str(path) if path.is_file() else ""

    def state_dict(self) -> dict[str, Any]:
        """The best score and its epoch, so that a resumed run does not forget them."""
        state = {"best_model_score": self.best_model_score, "best_epoch": self.best_epoch, "best_loss": self.best_loss}
        return state | ({"best_epochs": self.best_epochs.state_dict()} if self.best_epochs.count else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        self.best_model_score = state_dict["best_model_score"]
        self.best_epoch = state_dict["best_epoch"]
        self.best_loss = state_dict["best_loss"]
        self.best_epochs.load_state_dict(state_dict.get("best_epochs", []))

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Counts steps and minutes from here: the state that a run resumes from is on disk."""
        self._note_saved(trainer)
        if self.every_n_minutes is not None:
            self._agreement = agree_with_all("save")

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Ends the agreement of the ranks on when to save."""
        self._end_agreement()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Ends the agreement of the ranks on when to save."""
        self._end_agreement()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes ``last.ckpt`` in the middle of an epoch, never while gradients are accumulated."""
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if stepped and not trainer.is_last_batch and self._is_due(trainer):
            self.save_last(trainer)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Writes ``last.ckpt`` that was due at the last step of the epoch; validation may take long."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self._is_due(trainer):
            self.save_last(trainer)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Lets a checkpoint that is saved during validation restart it.

        Raises:
            DivergedError: It would hold numbers that are not finite; nothing is written, on any rank.
        """
        state = {key: checkpoint[key] for key in SAVED_TENSORS if key in checkpoint}
        loss = getattr(pl_module, "train_loss", None)  # its running sum is saved, too
        wrong = first_not_finite(state | {"train/loss": getattr(loss, "mean_value", ())})
        if trainer.strategy.reduce_boolean_decision(wrong is not None, all=False):
            raise diverged(f"{wrong or 'a tensor of another process'} is not finite", pl_module)
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
        if trainer.validating and trainer.state.fn == "fit":
            checkpoint[VALIDATION_LEFT] = True
            progress["current"] = dict.fromkeys(progress["current"], 0)
            # by these numbers Lightning knows that validation was begun, and not ended
            progress["total"] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            progress["is_last_batch"] = False
        else:
            progress["total"] = dict(progress["current"])  # the same whether or not this run was resumed in between

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Writes the epoch's checkpoints."""
        is_best = self.is_best(trainer)
        score = EpochScore(float(trainer.callback_metrics[self.monitor]), _loss(trainer))
        self._is_kept = self.best_epochs.offer(trainer.current_epoch, score)  # before the state is saved
        if not is_best:
            self._save_last(trainer)
            return
        self.best_model_score = float(trainer.callback_metrics[self.monitor])
        self.best_epoch = trainer.current_epoch
        self.best_loss = _loss(trainer)
        trainer.save_checkpoint(self.dirpath / "best.ckpt")
        if trainer.is_global_zero:
            link_or_copy(self.dirpath / "best.ckpt", self._fresh)
        self._replace_last(trainer)

    def save_last(self, trainer: lightning.Trainer) -> None:
        """Writes ``last.ckpt`` now, unless it is of this step; must be called on every rank."""
        if trainer.global_step != self._last_saved_step:
            self._save_last(trainer)

    def _save_last(self, trainer: lightning.Trainer) -> None:
        trainer.save_checkpoint(self._fresh)
        self._replace_last(trainer)

    @property
    def _fresh(self) -> Path:
        """Temporary name of a complete checkpoint before it becomes ``last.ckpt``; after a kill it is ignored."""
        return self.dirpath / ".last.ckpt.fresh.tmp"

    def _replace_last(self, trainer: lightning.Trainer) -> None:
        if trainer.is_global_zero:
            if self._is_kept:
                self.best_epochs.write(self._fresh, trainer.current_epoch)
            replace_last_checkpoint(self._fresh, self.keep_last)
            if self._is_kept:
                self.best_epochs.remove_others()
        self._is_kept = False
        trainer.strategy.barrier("last.ckpt")
        self._note_saved(trainer)

    def _note_saved(self, trainer: lightning.Trainer) -> None:
        self._last_saved_step, self._last_saved_at = trainer.global_step, time.monotonic()

    def _is_due(self, trainer: lightning.Trainer) -> bool:
        """Whether ``last.ckpt`` is to be written at this step; the same on every rank."""
        step = trainer.global_step
        if step == self._last_saved_step:
            return False
        if self.every_n_steps is not None and step % self.every_n_steps == 0:
            return True
        if self.every_n_minutes is None:
            return False
        is_old = time.monotonic() - self._last_saved_at >= 60 * self.every_n_minutes
        if self._agreement is None:
            return is_old
        if is_old and trainer.is_global_zero:
            self._agreement.request(1)
        return self._agreement.reach() > 0

    def _end_agreement(self) -> None:
        if self._agreement is not None:
            self._agreement.close()
            self._agreement = None

    def is_best(self, trainer: lightning.Trainer) -> bool:
        """Whether this epoch is better than all before it.

        Raises:
            ConfigError: The monitored metric was not logged.
        """
        value = trainer.callback_metrics.get(self.monitor)
        if value is None:
            logged = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            raise ConfigError(f"checkpoint.monitor={self.monitor!r} was not logged; logged were {logged}")
        best = None if self.best_model_score is None else EpochScore(self.best_model_score, self.best_loss)
        return is_better(EpochScore(float(value), _loss(trainer)), best, self.mode)


def _loss(trainer: lightning.Trainer) -> float | None:
    """The validation loss of this epoch, if a number was logged."""
    value = float(trainer.callback_metrics.get("val/loss", math.nan))
    return None if math.isnan(value) else value
