"""What no training can do with its settings, found before its first step; models of earlier ones are still read."""

from __future__ import annotations

import math
from collections.abc import Sequence

from classifier_training.config.contradictions import adjustment_fault, warmup_fault
from classifier_training.config.schema import LossConfig, SchedulerConfig
from classifier_training.errors import ConfigError


def check_warmup(scheduler: SchedulerConfig, max_epochs: float) -> None:
    """Makes sure that the learning rate reaches its peak before the training ends.

    Raises:
        ConfigError: It does not.
    """
    if fault := warmup_fault(scheduler, max_epochs):
        raise ConfigError(fault)


def check_adjustment(loss: LossConfig) -> None:
    """Makes sure that logits can be adjusted for this loss.

    Raises:
        ConfigError: The loss is not the cross-entropy.
    """
    if fault := adjustment_fault(loss):
        raise ConfigError(fault)


def check_class_numbers(
    num_classes: int, weights: Sequence[float] | None = None, counts: Sequence[int] | None = None
) -> None:
    """Makes sure that class weights, and counts for logit adjustment, give a finite loss.

    Raises:
        ConfigError: Their number is not that of the classes, a weight is not a finite number ≥ 0, all are 0, or a class
            has no training image.
    """
    for name, values in (("class_weights", weights), ("class_counts", counts)):
        if values is not None and len(values) != num_classes:
            raise ConfigError(f"{name} has {len(values)} numbers for {num_classes} classes; give one to each class")
    if weights is not None and not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise ConfigError(f"class_weights={[*weights]}: a weight must be a finite number ≥ 0")
    if weights is not None and not any(weights):
        raise ConfigError("class_weights: all of them are 0, so nothing would be learned; give one class more")
    if counts is not None and min(counts) < 1:
        raise ConfigError(
            f"class {[*counts].index(min(counts))} has {min(counts)} training images, so its logit cannot be adjusted;"
            " leave the class out, or use data.balance=none"
        )
