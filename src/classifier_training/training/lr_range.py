"""The learning rate of ``optimizer.lr=find``: a range test (Smith 2015, arXiv 1506.01186), before the training.

Lightning's own finder is not used: it gives every parameter group the same rate, so that a backbone with a share of the
head's would be tried with too large a one, and it leaves the random numbers of the training changed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from classifier_training.config.schema import OptimizerConfig
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.figures.lr_range import plot_lr_range
from classifier_training.models.backbone import head_parameters
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.device import seed_device
from classifier_training.models.optim import build_optimizer
from classifier_training.models.parameter_groups import parameter_groups
from classifier_training.run.folder import RunFolder
from classifier_training.run.lr_range import DIVERGED, HIGHEST, LOWEST, NUM_STEPS, RangeTest, smooth, write_range_test
from classifier_training.seeding import mix_seed
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.plan import Plan
from classifier_training.types import ClassificationBatch
from classifier_training.warn import warn_instead_of_raise


def find_lr(
    run: RunFolder, plan: Plan, model: BaseClassificationModel, device: torch.device, terminal: Terminal
) -> float:
    """Makes the range test of a training, plots it, and gives the learning rate; the model is used up by it.

    Args:
        run: Gets ``lr_range.csv``, and its figure if the report is on.
        plan: With ``optimizer.lr=find``.
        model: As the training begins with it.
        device: Where it is trained.
        terminal: Where the result is printed.
    """
    test = range_test(plan, model, device, terminal)
    found, lowest = test.suggestion, test.lowest
    default = OptimizerConfig().peak_lr
    write_range_test(run.lr_range, test)
    if plan.config.report.enabled:
        with warn_instead_of_raise(run.lr_range_figure.name):
            plot_lr_range(run.lr_range_figure, test, found)
    if found is None or lowest is None:
        terminal.warn(
            f"optimizer.lr=find: the loss does not fall at any learning rate of the range test ({test.end}), so the"
            f" default {default:g} is taken; {run.lr_range} has the losses"
        )
        return default
    terminal.info(
        f"optimizer.lr={found:g}: a tenth of {lowest:.2g}, where the loss of a range test of {len(test.rates)} steps is"
        " lowest"
    )
    return found


def range_test(plan: Plan, model: BaseClassificationModel, device: torch.device, terminal: Terminal) -> RangeTest:
    """Trains with an exponentially rising learning rate, on the batches and with the optimizer of a training."""
    settings = plan.config.optimizer.model_copy(update={"lr": 1.0})
    model.to(device).train()
    model.use_memory_format()
    if plan.config.model.freeze_norm_stats:
        for module in model.backbone.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
    groups = parameter_groups(
        model.backbone, head_parameters(model.backbone), settings, settings.backbone_lr_scale or 1.0
    )
    is_mixed = "mixed" in plan.config.trainer.precision
    optimizer = build_optimizer(groups, settings, is_mixed=is_mixed)
    shares = [float(group["lr"]) for group in optimizer.param_groups]
    scaler = torch.amp.GradScaler(device.type, enabled=plan.config.trainer.precision == "16-mixed")
    rates: list[float] = []
    losses: list[float] = []
    batches = _batches(plan)
    with terminal.progress("range test of the learning rate", "steps") as progress:
        for number in range(NUM_STEPS):
            rate = LOWEST * (HIGHEST / LOWEST) ** (number / (NUM_STEPS - 1))
            for group, share in zip(optimizer.param_groups, shares, strict=True):
                group["lr"] = rate * share
            seed_device(device, mix_seed(plan.config.seed, 0, number))
            loss = _step(plan, model, optimizer, scaler, batches, device)
            if not math.isfinite(loss):
                break
            rates.append(rate)
            losses.append(loss)
            smoothed = smooth(losses)
            if smoothed[-1] > DIVERGED * min(smoothed):
                break
            progress(number + 1, NUM_STEPS)
    return RangeTest(tuple(rates), tuple(losses), smooth(losses))


def _step(
    plan: Plan,
    model: BaseClassificationModel,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    batches: Iterator[ClassificationBatch],
    device: torch.device,
) -> float:
    """One optimizer step; the mean loss of its batches."""
    trainer, total = plan.config.trainer, 0.0
    optimizer.zero_grad()
    for batch in itertools.islice(batches, trainer.accumulate_grad_batches):
        on_device = batch.copy()
        on_device["images"] = batch["images"].to(device)
        on_device["labels"] = batch["labels"].to(device)
        with _precision(trainer.precision, device):
            loss = model.training_step(on_device, 0) / trainer.accumulate_grad_batches
        scaled: Any = scaler.scale(loss)
        scaled.backward()
        total += loss.item()
    scaler.unscale_(optimizer)
    if trainer.gradient_clip_val and trainer.gradient_clip_algorithm == "norm":
        torch.nn.utils.clip_grad_norm_(model.parameters(), trainer.gradient_clip_val)
    scaler.step(optimizer)
    scaler.update()
    return total


def _precision(name: str, device: torch.device) -> AbstractContextManager[object]:
    kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    return torch.autocast(device.type, kinds[name]) if name in kinds else nullcontext()


def _batches(plan: Plan) -> Iterator[ClassificationBatch]:
    """The batches of a training, one epoch after another, as long as they are taken; loaded in this process."""
    settings = plan.config.data.model_copy(update={"num_workers": 0})
    data = ImageFolderDataModule(
        config=settings, preprocessing=plan.preprocessing, seed=plan.config.seed, photos=plan.photos
    )
    data.expected_epochs = plan.config.trainer.num_epochs  # by which images grow, and mixing ends
    loader = data.train_dataloader()
    try:
        while True:
            yield from loader
    finally:
        data.close_caches()
