"""Best and last checkpoint of a run, each written whole or not at all."""

from __future__ import annotations

import io
import math
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from classifier_training.errors import ConfigError
from classifier_training.runs import atomic_path


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it, so that a kill or a full disk never leaves half of one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes one checkpoint.

        Raises:
            OSError: The disk is full or the folder cannot be written; what was at ``path`` is untouched.
        """
        if storage_options is not None:
            raise TypeError("AtomicCheckpointIO writes to local folders and takes no storage_options")
        # torch reports a full disk as an anonymous RuntimeError when it writes the file itself
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic_path(Path(path)) as temporary, temporary.open("wb") as file:
            file.write(buffer.getbuffer())


class RunCheckpoint(Checkpoint):
    """Writes ``best.ckpt`` when the monitored metric improves and ``last.ckpt`` after every epoch.

    Of epochs with the same monitored metric, common where validation images are few, the one with the lowest
    ``val/loss`` is the best; without that metric it is the earliest.

    Both are written at the very end of an epoch, when validation is done, so that a resumed run starts with the next
    epoch. The state holds no paths: a run folder may be moved.

    Args:
        dirpath: Folder of the two files.
        monitor: Name of a logged metric.
        mode: Whether a higher (``max``) or a lower (``min``) value is better.
        every_n_steps: Write ``last.ckpt`` every N optimizer steps too.
    """

    def __init__(
        self,
        dirpath: str | Path,
        monitor: str = "val/top1",
        mode: Literal["min", "max"] = "max",
        every_n_steps: int | None = None,
    ) -> None:
        super().__init__()
        if mode not in ("min", "max"):
            raise ConfigError(f"RunCheckpoint: mode={mode!r}; allowed are 'min' and 'max'")
        if every_n_steps is not None and every_n_steps < 1:
            raise ConfigError(f"RunCheckpoint: every_n_steps={every_n_steps}; allowed are 1, 2, … or None")
        self.dirpath = Path(dirpath)
        self.monitor = monitor
        self.mode = mode
        self.every_n_steps = every_n_steps
        self.best_model_score: float | None = None
        self.best_epoch: int | None = None
        self.best_loss: float | None = None
        self._last_saved_step = -1

    @property
    def best_model_path(self) -> str:
        """The best checkpoint; empty while there is none, as Lightning expects."""
        path = self.dirpath / "best.ckpt"
        return str(path) if self.best_epoch is not None and path.is_file() else ""

    @property
    def last_model_path(self) -> str:
        """The last checkpoint; empty while there is none."""
        path = self.dirpath / "last.ckpt"
        return str(path) if path.is_file() else ""

    def state_dict(self) -> dict[str, Any]:
        """The best score and its epoch, so that a resumed run does not forget them."""
        return {"best_model_score": self.best_model_score, "best_epoch": self.best_epoch, "best_loss": self.best_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        self.best_model_score = state_dict["best_model_score"]
        self.best_epoch = state_dict["best_epoch"]
        self.best_loss = state_dict["best_loss"]

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002 - Lightning's signature
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Writes ``last.ckpt`` in the middle of an epoch; the end of the epoch has its own."""
        step = trainer.global_step
        due = self.every_n_steps is not None and step % self.every_n_steps == 0 and step != self._last_saved_step
        if due and not trainer.is_last_batch:
            self.save_last(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Writes the epoch's checkpoints."""
        if not self.is_best(trainer):
            self.save_last(trainer)
            return
        self.best_model_score = float(trainer.callback_metrics[self.monitor])
        self.best_epoch = trainer.current_epoch
        self.best_loss = _loss(trainer)
        trainer.save_checkpoint(self.dirpath / "best.ckpt")
        self._last_saved_step = trainer.global_step
        if trainer.is_global_zero:
            _link_or_copy(self.dirpath / "best.ckpt", self.dirpath / "last.ckpt")
        trainer.strategy.barrier("last.ckpt")

    def save_last(self, trainer: lightning.Trainer) -> None:
        """Writes ``last.ckpt`` now; must be called on every rank."""
        trainer.save_checkpoint(self.dirpath / "last.ckpt")
        self._last_saved_step = trainer.global_step

    def is_best(self, trainer: lightning.Trainer) -> bool:
        """Whether this epoch is better than all before it.

        Raises:
            ConfigError: The monitored metric was not logged.
        """
        value = trainer.callback_metrics.get(self.monitor)
        if value is None:
            logged = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            raise ConfigError(f"checkpoint.monitor={self.monitor!r} was not logged; logged were {logged}")
        best, score, loss = self.best_model_score, float(value), _loss(trainer)
        if best is None or math.isnan(best):
            return True
        if score == best:
            return loss is not None and (self.best_loss is None or loss < self.best_loss)
        return score > best if self.mode == "max" else score < best


def _loss(trainer: lightning.Trainer) -> float | None:
    """The validation loss of this epoch, if a number was logged."""
    value = float(trainer.callback_metrics.get("val/loss", math.nan))
    return None if math.isnan(value) else value


def _link_or_copy(source: Path, target: Path) -> None:
    """Gives a finished file a second name: both are only ever replaced, never written into."""
    with atomic_path(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, temporary)
