"""Optimizer and learning rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from timm.optim import param_groups_weight_decay  # type: ignore[attr-defined]  # public, but not in its __all__
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from classifier_training.config.schema import OptimizerConfig, SchedulerConfig


def parameter_groups(
    backbone: nn.Module, head_parameters: Iterable[nn.Parameter], config: OptimizerConfig, backbone_lr_scale: float
) -> list[dict[str, Any]]:
    """Splits parameters into {backbone, head} × {decayed, not decayed}.

    Norms, biases and what the backbone itself excludes (position embeddings, say) get no weight decay.
    """
    own_rule = getattr(backbone, "no_weight_decay", None)
    excluded = own_rule() if callable(own_rule) else ()
    head = {id(parameter) for parameter in head_parameters}
    groups: list[dict[str, Any]] = []
    for decayed in param_groups_weight_decay(backbone, config.weight_decay, no_weight_decay_list=excluded):
        for name, lr, in_head in (("head", config.lr, True), ("backbone", config.lr * backbone_lr_scale, False)):
            parameters = [parameter for parameter in decayed["params"] if (id(parameter) in head) == in_head]
            if parameters:
                decay = decayed["weight_decay"]
                label = f"{name}, decay {decay:g}"
                groups.append({"params": parameters, "lr": lr, "weight_decay": decay, "name": label})
    return groups


def build_optimizer(groups: list[dict[str, Any]], config: OptimizerConfig, *, is_mixed: bool = False) -> Optimizer:
    """Builds the configured optimizer over `parameter_groups`, for automatic mixed precision or not."""
    if config.name == "sgd":
        return SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)
    kinds = {parameter.device.type for group in groups for parameter in group["params"]}
    optimizer = AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=_is_fused(kinds, is_mixed=is_mixed))
    # a fused optimizer offers to unscale gradients itself, so Lightning refuses to clip them in mixed precision, also
    # where nothing scales them; without the offer they are unscaled before they are clipped, as for other optimizers
    optimizer._step_supports_amp_scaling = False
    return optimizer


def _is_fused(kinds: set[str], *, is_mixed: bool) -> bool | None:
    """Whether parameters on such devices are updated by one fused kernel, much the fastest; None: as torch does."""
    return True if kinds == {"cuda"} or (kinds == {"cpu"} and not is_mixed) else None


def lr_factor(step: int, *, total_steps: int, warmup_steps: int, min_lr_ratio: float, cosine: bool = True) -> float:
    """Factor on the peak learning rate at an optimizer step: linear warm-up, then cosine (or constant).

    Args:
        step: Optimizer steps done, ≥ 0.
        total_steps: Optimizer steps of the whole training.
        warmup_steps: Optimizer steps of the warm-up, during which the factor is (step + 1) / (warmup_steps + 1).
        min_lr_ratio: Factor at the end.
        cosine: False keeps it at 1 after the warm-up.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if not cosine:
        return 1.0
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return min_lr_ratio + (1.0 - min_lr_ratio) * 0.5 * (1.0 + math.cos(math.pi * progress))


def build_scheduler(
    optimizer: torch.optim.Optimizer, config: SchedulerConfig, *, total_steps: int, max_epochs: int
) -> LambdaLR:
    """Builds the schedule; it is stepped once after every optimizer step."""
    warmup_steps = min(total_steps - 1, round(config.warmup_epochs * total_steps / max_epochs))
    is_cosine, ratio = config.name == "cosine", config.min_lr_ratio
    return LambdaLR(
        optimizer,
        lambda step: lr_factor(
            step, total_steps=total_steps, warmup_steps=warmup_steps, min_lr_ratio=ratio, cosine=is_cosine
        ),
    )
