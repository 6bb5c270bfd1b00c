"""The learning rate of ``optimizer.lr=find``: a range test (Smith 2015, arXiv 1506.01186), before the training.

Lightning's own finder is not used: it gives every parameter group the same rate, so that a backbone with a share of the
head's would be tried with too large a one, and it leaves the random numbers of the training changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from classifier_training.config.schema import OptimizerConfig
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.figures.lr_range import plot_lr_range
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.device import seed_device
from classifier_training.run.folder import RunFolder
from classifier_training.run.lr_range import DIVERGED, HIGHEST, LOWEST, NUM_STEPS, RangeTest, smooth, write_range_test
from classifier_training.seeding import mix_seed
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.plain_steps import PlainSteps
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
    steps = PlainSteps(plan, model, device, settings)
    optimizer = steps.optimizer
    shares = [float(group["lr"]) for group in optimizer.param_groups]
    rates: list[float] = []
    losses: list[float] = []
    batches = _batches(plan)
    with terminal.progress("range test of the learning rate", "steps") as progress:
        for number in range(NUM_STEPS):
            rate = LOWEST * (HIGHEST / LOWEST) ** (number / (NUM_STEPS - 1))
            for group, share in zip(optimizer.param_groups, shares, strict=True):
                group["lr"] = rate * share
            seed_device(device, mix_seed(plan.config.seed, 0, number))
            loss = steps.step(batches)
            if not math.isfinite(loss):
                break
            rates.append(rate)
            losses.append(loss)
            smoothed = smooth(losses)
            if smoothed[-1] > DIVERGED * min(smoothed):
                break
            progress(number + 1, NUM_STEPS)
    return RangeTest(tuple(rates), tuple(losses), smooth(losses))


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
