"""Adaptive gradient clipping (AGC)."""

from __future__ import annotations

from typing import Any, cast

import lightning
from timm.utils.agc import adaptive_clip_grad
from torch import nn
from torch.optim import Optimizer

from classifier_training.errors import ConfigError
from classifier_training.models.backbone import head_parameters


class AdaptiveGradientClipping(lightning.Callback):
    """Limits the gradient of each unit to a share of the norm of its weights; the head is left alone.

    Brock et al. 2021, "High-Performance Large-Scale Image Recognition Without Normalization", arXiv 2102.06171.
    Gradients are unscaled by then, and those of all devices and accumulated batches are added up.

    Args:
        factor: The share, above 0.

    Raises:
        ConfigError: It is not.
    """

    def __init__(self, factor: float = 0.02) -> None:
        super().__init__()
        if not factor > 0:
            raise ConfigError(f"AdaptiveGradientClipping(factor={factor}): factor must be above 0")
        self.factor = factor

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: Optimizer
    ) -> None:
        """Clips."""
        backbone = getattr(pl_module, "backbone", None)
        has_head = isinstance(backbone, nn.Module) and hasattr(backbone, "get_classifier")
        head = {id(parameter) for parameter in head_parameters(cast("nn.Module", backbone))} if has_head else set()
        values = [value for group in optimizer.param_groups for value in group["params"] if id(value) not in head]
        cast("Any", adaptive_clip_grad)(values, clip_factor=self.factor)
