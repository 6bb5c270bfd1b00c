"""The batch size of ``data.batch_size=auto``, from a few steps that are measured before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import torch

from classifier_training.config.compose import AUTO
from classifier_training.config.probe import is_probe
from classifier_training.features.extract import most_at_once
from classifier_training.models.base import BaseClassificationModel
from classifier_training.run.processes import is_main_process
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.batch_trial import (
    ENOUGH,
    FEWEST,
    HEADROOM,
    MOST_TIMED,
    BatchTrial,
    fewest_that_are_fast,
    free_memory,
    most_that_fit,
    throughput_by_size,
)
from classifier_training.training.group import Group
from classifier_training.training.lr_scaling import describe_scaling, with_batch_size
from classifier_training.training.model import build_model
from classifier_training.training.plan import Plan

REASON: Final = "data.batch_size=auto"
"""Its row in the plan."""
LR_OF_BATCHES: Final = frozenset({"optimizer.lr", "optimizer.lr_base_batch_size"})
"""Settings that follow from it."""
FEWEST_STEPS: Final = 20
"""Steps that an epoch has at least, where there are images for that: with few long steps little is learned."""
SECONDS: Final = {"cpu": 20.0, "mps": 20.0, "cuda": 60.0}
"""The most that the measurement may take."""
SHARE_OF_LIMIT: Final = 0.05
"""The share of a time limit that it may take."""


def is_automatic(plan: Plan) -> bool:
    """Whether the batch size of a plan is, or was, measured."""
    return plan.config.data.batch_size == AUTO or REASON in plan.reasons


def decide_batch_size(plan: Plan, terminal: Terminal) -> Plan:
    """A plan with a number as its batch size, and the learning rate that follows; any other one as it is.

    The first process decides. One that a launcher has started besides it leaves the size open, see `share_batch_size`.
    """
    if plan.config.data.batch_size != AUTO or not is_main_process():
        return plan
    if is_probe(plan.config):
        size = most_at_once(plan.accelerator)
        return _with_number(plan, size, f"{size} images: of a probe, only features are computed")
    trainer, world_size = plan.config.trainer, plan.place.world_size
    num_steps = FEWEST_STEPS * trainer.accumulate_grad_batches * world_size
    most = max(FEWEST, len(plan.photos.rows["train"]) // num_steps)
    if most < 2 * FEWEST:
        return _with_number(plan, FEWEST, f"{FEWEST} images: {_too_few_steps(FEWEST)}")
    seconds = SECONDS[plan.accelerator]
    if trainer.time_limit_seconds is not None:
        seconds = min(seconds, SHARE_OF_LIMIT * trainer.time_limit_seconds)
    size, reason = _measure(plan, most, seconds, terminal)
    limit = f"; {_too_few_steps(most)}" if 2 * size > most else ""
    return _with_number(plan, size, f"{size} images: {reason}{limit}")


def _too_few_steps(most: int) -> str:
    return f"with more than {most}, an epoch would have fewer than {FEWEST_STEPS} steps"


def _measure(plan: Plan, most: int, seconds: float, terminal: Terminal) -> tuple[int, str]:
    """The batch size, and why."""
    silent, device = Terminal(silent=True), torch.device(plan.accelerator)
    trial = BatchTrial(plan, build_model(plan, silent), device)
    try:
        if plan.accelerator == "cuda":
            total = torch.cuda.get_device_properties(device).total_memory / 2**30
            size = most_that_fit(trial.fits, most, seconds)
            return size, f"the most that leave {HEADROOM:.0%} of the free memory of this GPU ({total:.0f} GiB in all)"
        with terminal.progress("timing batches", "sizes") as progress:
            rates = throughput_by_size(trial.seconds_of, min(most, MOST_TIMED), seconds, progress)
        if not rates:
            return FEWEST, "memory ran out in a batch of as many"
        size = fewest_that_are_fast(rates)
        found = ", ".join(f"{one}: {rate:.3g}" for one, rate in rates.items())
        return size, f"the fewest with {ENOUGH:.0%} of the best throughput (images/s with {found})"
    finally:
        del trial
        free_memory()


def _with_number(plan: Plan, size: int, reason: str) -> Plan:
    """The plan with a batch size, as if the number had been given, and what becomes of the learning rate."""
    config = with_batch_size(plan.config, plan.place, size)
    optimizer = config.optimizer
    scaling = describe_scaling(plan.config.optimizer, optimizer)
    if scaling is None and optimizer.lr == "find":
        scaling = "by a range test with these batches"
    elif scaling is None and not is_probe(config):
        base = optimizer.lr_base_batch_size
        why = "optimizer.lr_base_batch_size is not set" if base is None else f"it is meant for {base} images in a step"
        scaling = f"{optimizer.shown_lr}, not scaled to these batches, as {why}"
    return replace(plan, config=config, lr_scaling=scaling, reasons={**plan.reasons, REASON: reason})


def share_batch_size(plan: Plan, model: BaseClassificationModel, group: Group) -> tuple[Plan, BaseClassificationModel]:
    """The plan with the batch size that the first process has measured, and its model; every process calls this.

    Each device then tries a batch of this size before the first step, see `callbacks.memory_trial`.
    """
    if not is_automatic(plan):
        return plan, model
    size = int(group.share("batch_size", lambda: str(plan.config.data.images_per_batch)))
    if plan.config.data.batch_size != AUTO:
        return plan, model
    plan = _with_number(plan, size, "as the first process has measured")
    return plan, build_model(plan, Terminal(silent=True))
