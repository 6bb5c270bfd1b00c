"""Freezing the backbone for the first epochs, its first stages in all of them, and its BatchNorm statistics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DistributedDataParallel

from classifier_training.errors import ConfigError
from classifier_training.models.backbone import backbone_stages, head_parameters


class FreezeBackbone(lightning.Callback):
    """Trains the head alone for some epochs, and everything after them, or everything but the first stages.

    What is frozen is in evaluation mode and gets no gradients; dropout before the head stays on, and the optimizer's
    parameter groups stay as they are. Where processes share gradients, those of the trained parameters alone are
    shared, so no strategy has to look for unused parameters at every step. What is frozen follows from the number of
    the epoch, so a resumed run needs no state. After ``fit``, however it ended, everything is as trainable as before,
    also for another ``fit``; parameters that somebody else has frozen stay so. A `BaseClassificationModel` brings this
    callback into any Trainer, by its own settings, which is why it is defined in this package.

    Args:
        epochs: Epochs that train the head alone.
        keep_norm_stats: Whether the backbone's BatchNorm layers keep their statistics, also in later epochs.
        stages: First stages that stay frozen in all epochs, the stem counted as one; stages are timm's coarse groups.

    Raises:
        ConfigError: ``epochs`` or ``stages`` is negative; at the start of ``fit``: the module has no ``backbone`` that
            names its head, as timm's models do with ``get_classifier``, or that has so many stages.
    """

    def __init__(self, epochs: int = 0, *, keep_norm_stats: bool = False, stages: int = 0) -> None:
        super().__init__()
        for name, number in {"epochs": epochs, "stages": stages}.items():
            if number < 0:
                raise ConfigError(f"FreezeBackbone: {name}={number}; allowed are 0, 1, 2, …")
        self.epochs = epochs
        self.stages = stages
        self.keep_norm_stats = keep_norm_stats
        self.is_of_model = False  # whether a model has brought it by its settings
        self._frozen: list[nn.Parameter] = []
        self._modes: list[tuple[nn.Module, bool]] = []  # of all modules, as they were before the training

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Makes sure before training that the module has a backbone whose head and stages are known."""
        if stage != "fit":
            return
        if not callable(getattr(getattr(pl_module, "backbone", None), "get_classifier", None)):
            raise ConfigError(
                f"FreezeBackbone: {type(pl_module).__name__} has no attribute `backbone` with a method"
                f" `get_classifier`, such as a timm model"
            )
        backbone = cast("nn.Module", pl_module.backbone)
        if self.stages and self.stages > (number := len(backbone_stages(backbone))):
            raise ConfigError(
                f"FreezeBackbone: stages={self.stages}; {type(backbone).__name__} has {number}, the stem counted as one"
            )

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Freezes an epoch that is resumed in its middle: it does not start again."""
        self._modes = [(module, module.training) for module in pl_module.modules()]
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Freezes or unfreezes the backbone for this epoch."""
        backbone = cast("nn.Module", pl_module.backbone)
        before = [parameter.requires_grad for parameter in backbone.parameters()]
        self._unfreeze()
        pl_module.train()
        if trainer.current_epoch < self.epochs:
            head = {id(parameter) for parameter in head_parameters(backbone)}
            self._frozen = _freeze(parameter for parameter in backbone.parameters() if id(parameter) not in head)
            backbone.eval()
            _let_head_drop(backbone, getattr(getattr(pl_module, "preprocessing", None), "image_size", None))
        elif self.stages:
            self._frozen = freeze_stages(backbone, self.stages)
        if before != [parameter.requires_grad for parameter in backbone.parameters()]:
            _share_gradients_anew(trainer)
        if self.keep_norm_stats:
            for module in backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Leaves the module as it was."""
        self._end()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Leaves the module as it was."""
        self._end()

    def _end(self) -> None:
        self._unfreeze()
        for module, was_training in self._modes:
            module.training = was_training
        self._modes = []

    def _unfreeze(self) -> None:
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        self._frozen = []


def freezing(epochs: int, keep_norm_stats: bool, callbacks: list[Any], *, stages: int = 0) -> list[lightning.Callback]:
    """The callback of a model whose settings ask for it, in a Trainer with these callbacks.

    One of the Trainer's own acts where the model asks for none, or for the same.
    """
    present = [one for one in callbacks if isinstance(one, FreezeBackbone)]
    if (epochs, keep_norm_stats, stages) in {(one.epochs, one.keep_norm_stats, one.stages) for one in present}:
        return []
    if not (epochs or keep_norm_stats or stages) and any(not one.is_of_model for one in present):
        return []
    callback = FreezeBackbone(epochs, keep_norm_stats=keep_norm_stats, stages=stages)
    callback.is_of_model = True
    return [callback]


def freeze_stages(backbone: nn.Module, number: int) -> list[nn.Parameter]:
    """Freezes the first stages of a backbone, and puts the modules in them into evaluation mode.

    Args:
        backbone: A timm model, in training mode.
        number: Stages, the stem counted as one.

    Returns:
        The parameters that were trainable before.
    """
    first = [parameter for stage in backbone_stages(backbone)[:number] for parameter in stage]
    known = {id(parameter) for parameter in first}
    for module in backbone.modules():
        if (own := [id(parameter) for parameter in module.parameters()]) and known.issuperset(own):
            module.eval()
    return _freeze(first)


def _freeze(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Freezes them; gives those that were not frozen before."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    return trainable


def _share_gradients_anew(trainer: lightning.Trainer) -> None:
    """Lets data-parallel processes share the gradients of what is trained now: torch decides that when it wraps."""
    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy) and isinstance(strategy.model, DistributedDataParallel):
        cast("Any", strategy.model)._remove_autograd_hooks()
        strategy.model = strategy.lightning_module
        strategy.configure_ddp()


def _let_head_drop(backbone: nn.Module, image_size: int | None) -> None:
    """Puts the dropout between features and head into training mode, everything else being in evaluation mode.

    Timm's models have it in layers, or as a function that looks at the mode of the whole model.
    """
    parts = cast("Any", backbone)
    layers = [module for module in backbone.modules() if isinstance(module, _DropoutNd) and module.p > 0]
    drops = bool(layers) or getattr(parts, "drop_rate", 0.0) > 0
    if not drops or not hasattr(parts, "forward_head"):
        return
    channels, *default_size = getattr(parts, "default_cfg", {}).get("input_size", (3, 224, 224))
    size = default_size if image_size is None else (image_size, image_size)
    in_head: list[nn.Module] = []
    with torch.no_grad():
        features = parts.forward_features(torch.zeros(1, channels, *size, device=next(backbone.parameters()).device))
        handles = [layer.register_forward_hook(lambda module, *_: in_head.append(module)) for layer in layers]
        parts.forward_head(features)
    for handle in handles:
        handle.remove()
    for module in (backbone, *in_head):
        module.training = True
