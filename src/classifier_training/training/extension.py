"""What becomes of the learning rate where a resumed run trains more epochs, or fewer, than it began with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from classifier_training.config.schema import Config


def describe_extension(checkpoint: Mapping[str, Any], before: Config, now: Config) -> str | None:
    """What is printed about the schedule of a resumed run; None: it is as it was.

    `ResumableLR` does what is said here.

    Args:
        checkpoint: What the checkpoint holds.
        before: The configuration that the run had until now.
        now: The one that it resumes with.
    """
    schedules = checkpoint.get("lr_schedulers") or [{}]
    state, saved = schedules[0], (schedules[0].get("lr_lambdas") or [None])[0] or {}
    old, new = saved.get("max_epochs", before.trainer.num_epochs), now.trainer.num_epochs
    rates = [float(rate) for rate in state.get("_last_lr", ())]
    if old == new or not rates:
        return None
    peak, end = now.optimizer.peak_lr, now.optimizer.peak_lr * now.scheduler.min_lr_ratio
    head = f"the learning rate schedule now ends at epoch {new} instead of {old:g}: "
    if state["last_epoch"] <= saved.get("warmup_steps", -1):
        return f"{head}the warm-up goes on, then {now.scheduler.name} to the new end"
    rate = max(rates)
    if now.scheduler.name == "constant":
        return f"{head}the learning rate stays at {rate:.3g}"
    if rate <= end * (1 + 1e-6):
        return (
            f"{head}it had reached its end, so the learning rate stays at {rate:.3g}, {rate / peak:.0%} of its peak;"
            " to train at a higher one again, start a new run with model.weights=CHECKPOINT"
        )
    if now.scheduler.name == "plateau":
        return f"{head}the learning rate stays at {rate:.3g} for as long as val/loss falls"
    if now.scheduler.name == "cosine":
        return (
            f"{head}the learning rate goes on from {rate:.3g} and falls as a cosine to {end:.3g}, without a new warm-up"
        )
    return f"{head}the learning rate goes on from {rate:.3g}; what is left of {now.scheduler.name} is stretched to it"
