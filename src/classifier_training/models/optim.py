"""Optimizers."""

from __future__ import annotations

from typing import Any

from torch.optim import SGD, AdamW, Optimizer

from classifier_training.config.schema import OptimizerConfig


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
