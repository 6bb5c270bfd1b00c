"""Gradient checkpointing: activations are computed again where the backward pass needs them, instead of kept."""

from __future__ import annotations

from typing import Any, cast

import lightning
from torch import Tensor, nn

from classifier_training.errors import ModelError
from classifier_training.models.norm_statistics import pause, resume


class GradCheckpointing(lightning.Callback):
    """Switches timm's gradient checkpointing on for a training, with the results of a training without it.

    What is computed twice is counted once: during the backward pass BatchNorm does not change its statistics. A model
    whose settings ask for it brings this callback into any Trainer.
    """

    def __init__(self) -> None:
        super().__init__()
        self._paused: list[tuple[Any, Any, Any]] = []

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Makes sure that the backbone has it."""
        if stage == "fit":
            check_grad_checkpointing(cast("nn.Module", pl_module.backbone), type(pl_module.backbone).__name__)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Switches it on."""
        cast("Any", pl_module.backbone).set_grad_checkpointing(True)

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
    ) -> None:
        """Whatever runs forward until the end of the backward pass, has run already."""
        self._paused = pause(cast("nn.Module", pl_module.backbone))

    def on_after_backward(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Counts again."""
        self._resume()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Switches it off: what is exported has none."""
        cast("Any", pl_module.backbone).set_grad_checkpointing(False)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Leaves the module as it was."""
        self._resume()
        self.on_train_end(trainer, pl_module)

    def _resume(self) -> None:
        resume(self._paused)
        self._paused = []


def check_grad_checkpointing(backbone: nn.Module, name: str) -> None:
    """Makes sure that a backbone has it.

    Raises:
        ModelError: It has not.
    """
    try:
        cast("Any", backbone).set_grad_checkpointing(True)
        cast("Any", backbone).set_grad_checkpointing(False)
    except (AttributeError, AssertionError, NotImplementedError):
        raise ModelError(
            f"model.grad_checkpointing=true: {name} has no gradient checkpointing in timm; leave it out, and lower"
            " data.batch_size and raise trainer.accumulate_grad_batches to save memory"
        ) from None
