"""What the plan says of the optimizer and of the learning rate schedule."""

from __future__ import annotations

from classifier_training.config.schema import OptimizerConfig, SchedulerConfig


def describe_optimizer(optimizer: OptimizerConfig) -> str:
    """The optimizer, the learning rates of head and backbone, and what it costs."""
    layers = "" if optimizer.layer_decay is None else f", × {optimizer.layer_decay:g} for each layer before the head"
    scale = 1.0 if optimizer.backbone_lr_scale is None else optimizer.backbone_lr_scale
    backbone = f"backbone × {scale:g}{layers}"
    sharpness = "" if optimizer.sam_rho is None else f", SAM at {optimizer.sam_rho:g}: two passes for each step"
    return f"{optimizer.name}, lr {optimizer.shown_lr} ({backbone}), weight decay {optimizer.weight_decay:g}{sharpness}"


def describe_curve(scheduler: SchedulerConfig) -> str:
    """The shape of the learning rate after the warm-up."""
    details = {
        "step": f", × {scheduler.gamma:g} at {', '.join(f'{milestone:.0%}' for milestone in scheduler.milestones)}",
        "poly": f" of power {scheduler.power:g}",
        "one_cycle": f", rising for {scheduler.rise:.0%}",
        "cosine_restarts": f", {scheduler.num_cycles} cycles",
        "plateau": f", × {scheduler.gamma:g} after {scheduler.plateau_patience} epochs without a lower val/loss",
    }
    return scheduler.name + details.get(scheduler.name, "")
