"""Optimizer and learning rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

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


class Schedule:
    """The factor on the peak learning rate at each optimizer step, as `lr_factor` gives it.

    A checkpoint keeps its attributes, which are plain values. A training that resumes with another number of steps
    continues its curve: from the factor of the step where it resumes, a cosine falls to the end.

    Attributes:
        total_steps: Optimizer steps of the whole training.
        max_epochs: Its epochs.
        warmup_steps: Optimizer steps of the warm-up.
        min_lr_ratio: Factor at the end.
        is_cosine: Whether the factor falls after the warm-up.
        start_step: Where the number of steps was changed; 0: nowhere.
        start_factor: The factor there.
    """

    def __init__(
        self, *, total_steps: int, max_epochs: float, warmup_steps: int, min_lr_ratio: float, is_cosine: bool
    ) -> None:
        self.total_steps = total_steps
        self.max_epochs = max_epochs
        self.warmup_steps = warmup_steps
        self.min_lr_ratio = min_lr_ratio
        self.is_cosine = is_cosine
        self.start_step = 0
        self.start_factor = 1.0

    def __call__(self, step: int) -> float:
        """The factor at a step."""
        if self.start_step and step >= self.start_step:
            if not self.is_cosine:
                return self.start_factor
            progress = min(1.0, (step - self.start_step) / max(1, self.total_steps - self.start_step))
            low = min(self.min_lr_ratio, self.start_factor)
            return low + (self.start_factor - low) * 0.5 * (1.0 + math.cos(math.pi * progress))
        return lr_factor(
            step,
            total_steps=self.total_steps,
            warmup_steps=self.warmup_steps,
            min_lr_ratio=self.min_lr_ratio,
            cosine=self.is_cosine,
        )

    def continue_from(self, step: int, factor: float) -> None:
        """Lets the curve go on from a step; in the warm-up it does so by itself."""
        if step > self.warmup_steps:
            self.start_step, self.start_factor = step, factor


class ResumableLR(LambdaLR):
    """A schedule whose curve goes on without a jump where a training resumes with another number of steps."""

    def __init__(self, optimizer: Optimizer, schedule: Schedule) -> None:
        super().__init__(optimizer, schedule)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the step, the warm-up and the past of the curve; its other settings are those it was built with."""
        schedule = cast("Schedule", self.lr_lambdas[0])
        present = vars(schedule).copy()
        super().load_state_dict(state_dict)
        past = vars(schedule).copy()
        saved, step = state_dict["lr_lambdas"][0], self.last_epoch
        # before there were schedules with attributes, a checkpoint held the rates alone
        factor = schedule(step) if saved else float(self._last_lr[0]) / float(self.base_lrs[0])
        kept = {name: past[name] for name in ("warmup_steps", "start_step", "start_factor")} if saved else {}
        vars(schedule).update({**present, **kept})
        schedule.warmup_steps = min(schedule.warmup_steps, schedule.total_steps - 1)
        has_changed = saved["total_steps"] != schedule.total_steps if saved else not _are_close(factor, schedule(step))
        if has_changed:
            schedule.continue_from(step, factor)


def _are_close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-12)


def default_warmup_epochs(max_epochs: float) -> float:
    """Length of the warm-up where none is set: an epoch, or half of a training of one epoch."""
    return min(1.0, max_epochs / 2)


def build_scheduler(
    optimizer: torch.optim.Optimizer, config: SchedulerConfig, *, total_steps: int, max_epochs: float
) -> ResumableLR:
    """Builds the schedule; it is stepped once after every optimizer step."""
    warmup = default_warmup_epochs(max_epochs) if config.warmup_epochs is None else config.warmup_epochs
    schedule = Schedule(
        total_steps=total_steps,
        max_epochs=max_epochs,
        warmup_steps=min(total_steps - 1, round(warmup * total_steps / max_epochs)),
        min_lr_ratio=config.min_lr_ratio,
        is_cosine=config.name == "cosine",
    )
    return ResumableLR(optimizer, schedule)
