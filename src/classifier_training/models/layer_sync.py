"""BatchNorm over all devices: converted and reverted without losing an activation or replacing a module."""

from __future__ import annotations

import warnings
from typing import Any, Final, cast

import lightning
from lightning.pytorch.plugins.layer_sync import LayerSync, TorchSyncBatchNorm
from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm
from typing_extensions import override

from classifier_training.errors import ConfigError

_OWN_CLASS: Final = "_class_before_sync"
"""Where a converted layer keeps the class that it had."""


class BatchNormSync(LayerSync):
    """Lets BatchNorm layers count over the batches of all devices while a model is trained.

    Lightning's and torch's own converters know torch's layers only: of a layer of timm that is BatchNorm and activation
    in one they leave the BatchNorm alone, so that another network is trained than the one that is exported. Here timm
    says what a layer becomes. The layer takes over that class and stays the same object, with the same parameters,
    buffers and hooks, so whoever holds one of these still holds the right one; afterwards it gets its class back.
    A layer that computes something of its own is left as it is, with a warning.

    Example:
        >>> trainer = lightning.Trainer(plugins=[BatchNormSync()], accelerator="cpu", logger=False)
    """

    @override
    def apply(self, model: nn.Module) -> nn.Module:
        """Converts the layers of ``model`` in place."""
        others: set[str] = set()
        for layer in list(model.modules()):
            if not isinstance(layer, _BatchNorm) or isinstance(layer, SyncBatchNorm):
                continue
            kind = type(layer)
            if kind.forward not in (_BatchNorm.forward, BatchNormAct2d.forward) or hasattr(layer, "parametrizations"):
                others.add(kind.__name__)
                continue
            converted = cast("Any", convert_sync_batchnorm)(layer)
            layer.__dict__[_OWN_CLASS] = kind
            layer.process_group = converted.process_group
            layer.__class__ = type(converted)
        if others:
            warnings.warn(
                f"BatchNorm statistics of {', '.join(sorted(others))} stay those of each device: such a layer computes"
                " something of its own, and has no form that counts over all devices",
                stacklevel=2,
            )
        return model

    @override
    def revert(self, model: nn.Module) -> nn.Module:
        """Gives every layer of ``model`` that was converted, or of a copy of it, the class that it had."""
        for layer in model.modules():
            kind = layer.__dict__.pop(_OWN_CLASS, None)
            if kind is not None:
                layer.__class__ = kind
                del layer.process_group
        return model


def keep_activations_in_sync(trainer: lightning.Trainer) -> None:
    """Lets ``Trainer(sync_batchnorm=True)`` convert with `BatchNormSync` in place of Lightning's own converter."""
    strategy: Any = trainer.strategy
    if isinstance(getattr(strategy, "_layer_sync", None), TorchSyncBatchNorm):
        strategy._layer_sync = BatchNormSync()


def norms_with_activation(backbone: nn.Module) -> tuple[str, ...]:
    """Names of the layers that are BatchNorm and activation in one."""
    return tuple(name for name, layer in backbone.named_modules() if isinstance(layer, BatchNormAct2d))


def check_activations(backbone: nn.Module, names: tuple[str, ...]) -> None:
    """Refuses a backbone of which somebody's converter has removed activations.

    Args:
        backbone: As it is now.
        names: `norms_with_activation` as it was built.

    Raises:
        ConfigError: Layers of these names have none.
    """
    layers = dict(backbone.named_modules())
    plain = (_BatchNorm.forward, SyncBatchNorm.forward)  # what torch's converter makes has the activation, unused
    lost = [name for name in names if getattr(type(layers.get(name)), "forward", None) in plain]
    if lost:
        raise ConfigError(
            f"{len(lost)} layer(s) of the backbone have lost their activation, the first is {lost[0]}, now a"
            f" {type(layers[lost[0]]).__name__}: torch's convert_sync_batchnorm does that to timm's models; use"
            " timm.layers.convert_sync_batchnorm, or Trainer(sync_batchnorm=True), on a model that is built anew"
        )
