"""What the parts of a training cost, from a few steps that are measured before anything is written."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Final, cast

import torch
from torch import nn

from classifier_training.config.schema import Config
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.errors import is_out_of_memory
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.precision import Precision, arithmetic
from classifier_training.run.cpus import cpu_limit_here
from classifier_training.run.time_budget import Costs
from classifier_training.training.plan import Plan

FINAL_SECONDS: Final = 8.0
"""What comes after the training besides passes over images, of a small model: export, its check, tables, the report."""
SECONDS_PER_MILLION: Final = 0.15
"""More of it for each million weights, which are written and compared."""
LONGEST_MEASUREMENT: Final = 3.0
"""Seconds after which a step that was measured twice is not measured again."""
MEASURED_STEPS: Final = 3


def measure_costs(plan: Plan, model: BaseClassificationModel, *, slowness: float = 1.0) -> Costs:
    """Measures what a few batches cost, on a copy of the model, and adds up what the training will.

    Args:
        plan: What is trained.
        model: What is to be trained; it is left alone.
        slowness: How often as long as on a quiet machine this process takes for what no batch tells.
    """
    batch_size = plan.config.data.batch_size
    while True:
        try:
            with torch.random.fork_rng([torch.cuda.current_device()] if plan.accelerator == "cuda" else []):
                loading, training, scoring = _measure(plan, model, batch_size)
            break
        except Exception as error:
            if batch_size == 1 or not is_out_of_memory(error):
                raise
            batch_size //= 2  # the fit says so itself, or makes do with less
    scale = plan.config.data.batch_size / batch_size
    rows, world_size = plan.photos.rows, plan.place.world_size
    num_val, num_test = len(rows["val"]), len(rows.get("test", ()))
    validation = math.ceil(num_val / world_size) / batch_size * _with_loaders(plan, loading, scoring)
    passes = 1.0 + (num_test or num_val) / max(1, num_val)  # on one device
    passes += _candidates(plan.config) * scoring / _with_loaders(plan, loading, scoring)  # which are loaded once
    probe = len(rows["train"]) / batch_size * _with_loaders(plan, loading, scoring) + 3.0 * slowness
    begin = probe if plan.config.recipe.start_from_probe else 0.0
    num_weights = sum(weight.numel() for weight in model.parameters())
    return Costs(
        step=scale * _with_loaders(plan, loading, training),
        num_batches=plan.num_batches,
        validation=validation + 0.5,
        start=2.0 + 0.5 * plan.loaders.count + (15.0 if world_size > 1 else 0.0) + begin,
        final_passes=passes * world_size,
        probe=probe,
        final_seconds=slowness * (FINAL_SECONDS + SECONDS_PER_MILLION * num_weights / 1e6),
    )


def _candidates(config: Config) -> int:
    """Passes over the validation images at the most to choose the final weights."""
    if not config.checkpoint.choose_final:
        return 0
    others = max(0, config.checkpoint.num_best_epochs - 1)  # and an average with each of them
    return 1 + 2 * others + (4 if config.recipe.start_from_probe else 0)


def _with_loaders(plan: Plan, loading: float, computing: float) -> float:
    """Seconds of a batch that is loaded by other processes while the one before it is computed."""
    if not plan.loaders.count:
        return loading + computing
    longest = max(computing, loading / plan.loaders.count)
    if plan.accelerator != "cpu":
        return longest
    cpus = max(1.0, cpu_limit_here().count / max(1, plan.place.num_devices))  # which both need
    return max(longest, (loading + computing * min(cpus, torch.get_num_threads())) / cpus)


def _measure(plan: Plan, model: BaseClassificationModel, batch_size: int) -> tuple[float, float, float]:
    """Seconds that a batch takes to load here, to train on and to score."""
    precision = cast("Precision", plan.config.trainer.precision)  # "auto" has been decided
    settings = {"batch_size": batch_size, "num_workers": 0, "cache": "none"}
    data = ImageFolderDataModule(
        config=plan.config.data.model_copy(update=settings),
        preprocessing=plan.preprocessing,
        seed=plan.config.seed,
        photos=plan.photos,
    )
    device = torch.device(plan.accelerator)
    started = time.monotonic()
    batch = next(iter(data.train_dataloader()))
    loading = time.monotonic() - started
    images, labels = batch["images"].to(device), batch["labels"].to(device)
    backbone = copy.deepcopy(model.backbone).to(device)
    optimizer = torch.optim.AdamW(backbone.parameters())

    def train() -> None:
        with arithmetic(device, precision):
            loss = nn.functional.cross_entropy(backbone(images).float(), labels)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # waits for the device

    @torch.no_grad()
    def score() -> None:
        with arithmetic(device, precision):
            backbone(images).float().sum().item()

    backbone.train()
    training = _seconds(train)
    backbone.eval()
    return loading, training, _seconds(score)


def _seconds(step: Callable[[], None]) -> float:
    """How long a step takes, the first one aside, in which much is made for all that follow."""
    taken: list[float] = []
    while len(taken) < 2 or (len(taken) < MEASURED_STEPS and sum(taken) < LONGEST_MEASUREMENT):
        started = time.monotonic()
        step()
        taken.append(time.monotonic() - started)
    return min(taken[1:])
