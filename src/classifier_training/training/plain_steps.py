"""Steps of a training outside of a Trainer, for what is measured before it begins."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from classifier_training.config.schema import OptimizerConfig
from classifier_training.models.backbone import head_parameters
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.freeze_backbone import freeze_stages
from classifier_training.models.optim import build_optimizer
from classifier_training.models.parameter_groups import parameter_groups
from classifier_training.training.plan import Plan
from classifier_training.types import ClassificationBatch


class PlainSteps:
    """The optimizer steps of a plan, on a model that is used up by them.

    Args:
        plan: Whose precision, accumulation, clipping and stages that stay frozen are taken.
        model: As the training begins with it; it is moved to the device.
        device: Where it is trained.
        settings: Those of the optimizer, with a number as the learning rate.

    Attributes:
        optimizer: The optimizer.
    """

    def __init__(
        self, plan: Plan, model: BaseClassificationModel, device: torch.device, settings: OptimizerConfig
    ) -> None:
        self.trainer = plan.config.trainer
        self.model, self.device = model, device
        model.to(device).train()
        model.use_memory_format()
        freeze_stages(model.backbone, plan.config.model.freeze_stages or 0)
        if plan.config.model.freeze_norm_stats:
            for module in model.backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        groups = parameter_groups(
            model.backbone, head_parameters(model.backbone), settings, settings.backbone_lr_scale or 1.0
        )
        self.optimizer = build_optimizer(groups, settings, is_mixed="mixed" in self.trainer.precision)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.trainer.precision == "16-mixed")

    def step(self, batches: Iterable[ClassificationBatch]) -> float:
        """One optimizer step on as many batches as are accumulated; their mean loss."""
        trainer, total = self.trainer, 0.0
        self.optimizer.zero_grad()
        for batch in itertools.islice(batches, trainer.accumulate_grad_batches):
            on_device = batch.copy()
            on_device["images"] = batch["images"].to(self.device)
            on_device["labels"] = batch["labels"].to(self.device)
            with _precision(trainer.precision, self.device):
                loss = self.model.training_step(on_device, 0) / trainer.accumulate_grad_batches
            scaled: Any = self._scaler.scale(loss)
            scaled.backward()
            total += loss.item()
        self._scaler.unscale_(self.optimizer)
        if trainer.gradient_clip_val and trainer.gradient_clip_algorithm == "norm":
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), trainer.gradient_clip_val)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        return total


def _precision(name: str, device: torch.device) -> AbstractContextManager[object]:
    kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    return torch.autocast(device.type, kinds[name]) if name in kinds else nullcontext()
