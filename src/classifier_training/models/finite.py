"""Whether the tensors of a checkpoint are finite numbers, and the error of a training whose tensors are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import lightning
import torch
from torch import Tensor

from classifier_training.errors import DivergedError


def diverged(what: str, module: lightning.LightningModule) -> DivergedError:
    """The error of a training that has diverged: what is not a finite number, where, and what to try."""
    trainer, settings = module.trainer, getattr(module, "settings", None)
    lr = "" if settings is None else f" (now {settings.optimizer.peak_lr:g})"
    is_exact = trainer.precision == "32-true"
    other = "raise scheduler.warmup_epochs" if is_exact else "use trainer.precision=32-true"
    where = f"in epoch {trainer.current_epoch + 1}, step {trainer.global_step}"
    return DivergedError(f"training diverged {where}: {what}; lower optimizer.lr{lr} or {other}")


def first_not_finite(state: Mapping[str, Any]) -> str | None:
    """The name of the first tensor that holds a number that is not finite; None where there is none.

    Looks into mappings and lists, as of an optimizer. A mask may hold infinities. Waits for the device once.
    """
    names, verdicts = [], []
    for name, tensor in _tensors(state):
        names.append(name)
        low, high = tensor.aminmax()  # without a copy of the tensor; NaN is in both
        may_be_infinite = name.endswith("mask")
        verdicts.append(~low.isnan() if may_be_infinite else low.isfinite() & high.isfinite())
    if not verdicts:
        return None
    is_finite = torch.stack([verdict.to(verdicts[0].device, non_blocking=True) for verdict in verdicts])
    wrong = (~is_finite).nonzero().flatten().tolist()
    return names[wrong[0]] if wrong else None


def _tensors(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(state, Tensor):
        if state.is_floating_point() and state.numel():
            yield name, state.detach()
    elif isinstance(state, Mapping | list | tuple):
        parts = state.items() if isinstance(state, Mapping) else enumerate(state)
        for key, part in parts:
            yield from _tensors(part, f"{name}.{key}" if name else str(key))
