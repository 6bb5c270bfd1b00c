"""What the parts of a training cost, from a few steps that are measured before anything is written."""

from __future__ import annotations

import math
from typing import Final

import torch

from classifier_training.config.schema import Config
from classifier_training.data.loading.sizes import TrainingSizes
from classifier_training.errors import is_out_of_memory
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.device import resolve_accelerator
from classifier_training.run.cpus import cpu_limit_here
from classifier_training.run.lr_range import NUM_STEPS
from classifier_training.run.time_budget import Costs, TimeBudget, epochs_within
from classifier_training.training.batch_costs import BatchCosts, measure_batches
from classifier_training.training.plan import Plan
from classifier_training.training.unknown import NUM_REFERENCE, has_cached_features

FINAL_SECONDS: Final = 6.0
"""What comes after the training besides passes over images, of a small model: figures, export, tables, the report."""
SECONDS_PER_MILLION: Final = 0.15
"""More of it for each million weights, which are written and compared."""
UNKNOWN_SECONDS: Final = 2.0
"""More of it to choose the unknown score: heads on features of 1,000 images."""
MOST_IN_BATCHES: Final = 200
"""Images that go through an exported file besides those one by one, see `exporters.verification`."""
SECONDS_PER_IMAGE_AND_MILLION: Final = 0.0003
"""What an image takes on a CPU beside an accelerator, for each million weights."""
SECONDS_AT_END_OF_EPOCH: Final = 0.5


def measure_costs(plan: Plan, model: BaseClassificationModel, budget: TimeBudget, *, slowness: float = 1.0) -> Costs:
    """Measures what a few batches cost, on a copy of the model, and adds up what the training will.

    Args:
        plan: What is trained.
        model: What is to be trained; it is left alone.
        budget: The time, on which the number of epochs depends, and on this which of them have smaller images.
        slowness: How often as long as on a quiet machine this process takes for what no batch tells.
    """
    batch_size = plan.config.data.images_per_batch
    while True:
        try:
            batch = measure_batches(plan, model, batch_size)
            break
        except Exception as error:
            if batch_size == 1 or not is_out_of_memory(error):
                raise
            batch_size //= 2  # the fit says so itself, or makes do with less
    num_weights = sum(weight.numel() for weight in model.parameters())
    num_epochs, costs = 1, Costs()
    for _ in range(4):  # how many epochs fit depends on what these and the end cost, and that on their number
        costs = add_up(plan, batch, batch_size, num_epochs, slowness=slowness, num_weights=num_weights)
        expected = epochs_within(budget.left - costs.start, costs)
        num_epochs = min(expected, plan.config.trainer.max_epochs or expected)
    return costs


def add_up(
    plan: Plan, batch: BatchCosts, batch_size: int, num_epochs: int, *, slowness: float, num_weights: int
) -> Costs:
    """What a training costs.

    Args:
        plan: What is trained.
        batch: What a batch costs.
        batch_size: Images of that batch.
        num_epochs: How many are expected.
        slowness: See `measure_costs`.
        num_weights: Of the model.
    """
    rows, world_size = plan.photos.rows, plan.place.world_size
    num_val, num_test = len(rows["val"]), len(rows.get("test", ()))
    from_cache = _with_loaders(plan, batch, batch.loading, batch.scoring)
    from_files = _with_loaders(plan, batch, batch.decoding, batch.scoring)
    validation = math.ceil(num_val / world_size) / batch_size * from_cache + SECONDS_AT_END_OF_EPOCH
    final = (num_val + (num_test or num_val)) * from_files  # on one device
    if num_test and not _is_exact(plan.config):
        final += (
            num_val * from_files
        )  # the calibration is in float32, the check of best.ckpt in the training's precision
    final += _candidates(plan.config, num_epochs) * num_val * batch.scoring  # which are loaded once
    has_unknown = plan.config.calibration.unknown
    if has_unknown and not has_cached_features(plan.config):
        final += min(NUM_REFERENCE, len(rows["train"])) * from_files
    probe = len(rows["train"]) / batch_size * from_files + 3.0 * slowness
    begin = probe + num_val / batch_size * from_files if plan.config.recipe.start_from_probe else 0.0
    begin += _range_test(plan, batch) * plan.config.data.images_per_batch / batch_size
    return Costs(
        step=plan.config.data.images_per_batch / batch_size * _with_loaders(plan, batch, batch.loading, batch.training),
        num_batches=plan.num_batches,
        validation=validation,
        start=2.0 + 0.5 * plan.loaders.count + (15.0 if world_size > 1 else 0.0) + begin,
        final_passes=0.0,
        final_scoring=final / batch_size + _proof(plan, batch, batch_size, num_val, num_weights),
        probe=probe,
        final_seconds=slowness
        * (FINAL_SECONDS + SECONDS_PER_MILLION * num_weights / 1e6 + (UNKNOWN_SECONDS if has_unknown else 0.0)),
        shares=_shares(plan, batch, num_epochs),
    )


def _proof(plan: Plan, batch: BatchCosts, batch_size: int, num_val: int, num_weights: int) -> float:
    """Seconds in which the exported file is proven on the CPU, its images one by one and some of them in batches."""
    if not plan.config.export.enabled:
        return 0.0
    num_images = min(num_val, plan.config.export.verification_images)
    if plan.accelerator == "cpu":  # the model itself has scored them before
        return ((num_images + MOST_IN_BATCHES) * batch.scoring + num_images * batch.decoding) / batch_size
    return (2 * num_images + MOST_IN_BATCHES) * SECONDS_PER_IMAGE_AND_MILLION * num_weights / 1e6


def _range_test(plan: Plan, batch: BatchCosts) -> float:
    """Seconds of a range test of the learning rate, which loads its batches in one process."""
    if plan.config.optimizer.lr != "find":
        return 0.0
    return NUM_STEPS * plan.config.trainer.accumulate_grad_batches * (batch.loading + batch.training)


def _shares(plan: Plan, batch: BatchCosts, num_epochs: int) -> tuple[float, ...]:
    """What batches of the epochs cost whose images are decoded, or of another size, or whose backbone is frozen.

    As shares of what a batch of the full size costs.
    """
    usual = _with_loaders(plan, batch, batch.loading, batch.training)
    sizes = TrainingSizes.of(plan.config.data, plan.preprocessing, num_epochs)
    full, num_frozen = sizes.at(sizes.num_growing), plan.config.model.freeze_epochs or 0
    shares = []
    for epoch in range(num_epochs):
        loading = batch.decoding if epoch == 0 else batch.loading
        computing = batch.scoring if epoch < num_frozen else batch.training
        size = (sizes.at(epoch) / full) ** 2
        shares.append(_with_loaders(plan, batch, loading, size * computing) / usual)
    while shares and shares[-1] == 1.0:
        shares.pop()
    return tuple(shares)


def _is_exact(config: Config) -> bool:
    """Whether the training computes as the final scores are computed."""
    return config.trainer.precision == "32-true" and resolve_accelerator(config.trainer.accelerator) == "cpu"


def _candidates(config: Config, num_epochs: int) -> int:
    """Passes over the validation images at the most to choose the final weights."""
    if not config.checkpoint.choose_final:
        return 0
    others = max(0, min(num_epochs, config.checkpoint.num_best_epochs) - 1)  # each also tried in their average
    return 2 + 2 * others + (4 if config.recipe.start_from_probe else 0)


def _with_loaders(plan: Plan, batch: BatchCosts, loading: float, computing: float) -> float:
    """Seconds of a batch that is loaded by other processes while the one before it is computed."""
    if not plan.loaders.count:
        return loading + computing
    longest = max(computing, loading / plan.loaders.count)
    if plan.accelerator != "cpu":
        return longest
    cpus = max(1.0, cpu_limit_here().count / max(1, plan.place.num_devices))  # which both need
    busy = min(cpus, torch.get_num_threads(), batch.num_cpus)
    return max(longest, (loading + computing * busy) / cpus)
