"""Freezing the backbone for the first epochs, and keeping its BatchNorm statistics."""

from __future__ import annotations

from typing import Any, cast

import lightning
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from classifier_training.errors import ConfigError
from classifier_training.models.backbone import head_parameters


class FreezeBackbone(lightning.Callback):
    """Trains the head alone for some epochs, and everything after them.

    A frozen backbone is in evaluation mode and gets no gradients; the optimizer's parameter groups stay as they are.
    Where processes share gradients, those of the trained parameters alone are shared, so no strategy has to look for
    unused parameters at every step.
    What is frozen follows from the number of the epoch, so a resumed run needs no state. A `BaseClassificationModel`
    brings this callback into any Trainer, by its own settings, which is why it is defined in this package.

    Args:
        epochs: Epochs that train the head alone.
        keep_norm_stats: Whether the backbone's BatchNorm layers keep their statistics, also in later epochs.

    Raises:
        ConfigError: ``epochs`` is negative; at the start of ``fit``: the module has no ``backbone`` that names its
            head, as timm's models do with ``get_classifier``.
    """

    def __init__(self, epochs: int = 0, *, keep_norm_stats: bool = False) -> None:
        super().__init__()
        if epochs < 0:
            raise ConfigError(f"FreezeBackbone: epochs={epochs}; allowed are 0, 1, 2, …")
        self.epochs = epochs
        self.keep_norm_stats = keep_norm_stats
        self.is_of_model = False  # whether a model has brought it by its settings

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Makes sure before training that the module has a backbone whose head is known."""
        if stage == "fit" and not callable(getattr(getattr(pl_module, "backbone", None), "get_classifier", None)):
            raise ConfigError(
                f"FreezeBackbone: {type(pl_module).__name__} has no attribute `backbone` with a method"
                f" `get_classifier`, such as a timm model"
            )

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Freezes an epoch that is resumed in its middle: it does not start again."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Freezes or unfreezes the backbone for this epoch."""
        backbone = cast("nn.Module", pl_module.backbone)
        is_frozen = trainer.current_epoch < self.epochs
        head = {id(parameter) for parameter in head_parameters(backbone)}
        before = [parameter.requires_grad for parameter in backbone.parameters()]
        for parameter in backbone.parameters():
            parameter.requires_grad_(not is_frozen or id(parameter) in head)
        if before != [parameter.requires_grad for parameter in backbone.parameters()]:
            _share_gradients_anew(trainer)
        pl_module.train()
        if is_frozen:
            backbone.eval()
        if self.keep_norm_stats:
            for module in backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()


def _share_gradients_anew(trainer: lightning.Trainer) -> None:
    """Lets data-parallel processes share the gradients of what is trained now: torch decides that when it wraps."""
    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy) and isinstance(strategy.model, DistributedDataParallel):
        cast("Any", strategy.model)._remove_autograd_hooks()
        strategy.model = strategy.lightning_module
        strategy.configure_ddp()
