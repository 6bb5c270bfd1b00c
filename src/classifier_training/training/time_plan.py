"""The time of a training that has a limit: how it is divided, and whether it is enough."""

from __future__ import annotations

import math
import time
from dataclasses import replace

from classifier_training.config.schema import Config, RecipeConfig
from classifier_training.errors import ConfigError, ModelError
from classifier_training.metrics.forecast import Curve, forecast
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.head_features import linear_classifier
from classifier_training.run.processes import is_main_process
from classifier_training.run.time_budget import TimeBudget
from classifier_training.terminal.terminal import Terminal, duration
from classifier_training.training.costs import measure_costs
from classifier_training.training.plan import Plan


def plan_time(
    plan: Plan, model: BaseClassificationModel, started: float, terminal: Terminal, *, measure: bool, is_new: bool
) -> Plan | None:
    """Divides the time of a training that has a limit, and prints how; any other plan is returned as it is.

    Args:
        plan: What is trained.
        model: What is to be trained; it is left alone.
        started: When the command began, by the monotonic clock.
        terminal: Where messages go.
        measure: Whether a few steps are measured; those of a run that is resumed are known from its checkpoint.
        is_new: Whether the recipe may still become another one.

    Returns:
        The plan with its time; None: it is enough for the probe alone, which the recipe allows.

    Raises:
        ConfigError: The time is too short for one epoch, and for the probe in its place.
    """
    limit = plan.config.trainer.time_limit_seconds
    if limit is None:
        return plan
    budget = TimeBudget(limit, started)
    if measure and is_main_process():
        shared = budget.spent / max(time.process_time(), 1e-3)  # of its CPU, this process has had a part
        budget.costs = measure_costs(plan, model, slowness=min(3.0, max(1.0, shared)))
        if budget.left < budget.costs.least:
            may_probe = is_new and plan.place.world_size == 1 and why_no_probe_instead(plan, model) is None
            _check_least(plan, budget, may_probe=may_probe)
            terminal.warn(_too_short(plan, budget) + ": the probe is fitted instead, recipe=probe")
            return None
        terminal.pairs(f"time limit {duration(limit)}", describe_time(budget, plan.config))
    return replace(plan, time=budget)


def why_no_probe_instead(plan: Plan, model: BaseClassificationModel) -> str | None:
    """Why a training cannot become the probe of its weights; None: it can."""
    if plan.config.recipe.name not in {"auto", "finetune"} or not plan.weights:
        return "the recipe is another one, or there are no pretrained weights"
    try:
        classifier = linear_classifier(model.backbone, model.preprocessing.image_size, plan.config.model.name)
    except ModelError as error:
        return str(error)
    return None if classifier.bias is not None else "its head has no bias"


def as_new_probe(config: Config) -> Config:
    """The configuration of the probe in place of a training for which there is no time."""
    recipe = RecipeConfig(name="probe", probe_views=config.recipe.probe_views)
    return config.model_copy(update={"recipe": recipe})


def describe_time(budget: TimeBudget, config: Config) -> dict[str, str]:
    """How the time is divided, as names and values."""
    costs, max_epochs = budget.costs, config.trainer.max_epochs
    epochs = max(1, math.floor((budget.left - costs.start - costs.reserve) / max(costs.epoch, 1e-9)))
    number = f"about {epochs}, each of about {duration(costs.epoch)}"
    if max_epochs is not None and max_epochs <= epochs:
        number = f"{max_epochs}, each of about {duration(costs.epoch)}, which end before the time does"
    return {
        "spent": f"{duration(budget.spent)}, from the start of the command",
        "epochs": f"{number}; the schedule follows the clock",
        "kept for the end": f"about {duration(costs.reserve)}: final scores, export and report",
        "forecast": "none yet; it comes with the first epoch, or with a probe before that",
    }


def forecast_from_probe(budget: TimeBudget, max_epochs: int | None, val_images: int, top1: float) -> str:
    """What the training will reach, by the validation accuracy of the probe that it starts from; a sentence."""
    budget.probe = top1
    epochs = budget.epochs_left if max_epochs is None else min(budget.epochs_left, max_epochs)
    known = forecast(Curve((), max(epochs, 1.0), val_images, top1))
    return (
        f"forecast: val/top1 {known} at the end, because the probe has {top1:.0%} after {duration(budget.spent)},"
        f" about {epochs:.0f} epochs fit, and one takes about {duration(budget.costs.epoch)}"
    )


def _too_short(plan: Plan, budget: TimeBudget) -> str:
    costs = budget.costs
    return (
        f"trainer.time_limit={plan.config.trainer.time_limit} is too short for one epoch: {duration(budget.spent)} are"
        f" spent on the start, an epoch of {plan.num_batches} batches takes about {duration(costs.epoch)} here, and"
        f" final scores, export and report about {duration(costs.reserve)}"
    )


def _check_least(plan: Plan, budget: TimeBudget, *, may_probe: bool) -> None:
    """Refuses a limit that leaves no time for one epoch, nor for the probe in its place."""
    costs = budget.costs
    if may_probe and budget.left >= costs.least_of_probe:
        return
    least = f"the least that works is about --time-limit {_rounded_up(1.1 * (budget.spent + costs.least))}"
    if may_probe:
        least += f", or {_rounded_up(1.1 * (budget.spent + costs.least_of_probe))} for the probe alone"
    raise ConfigError(f"{_too_short(plan, budget)}; {least}")


def _rounded_up(seconds: float) -> str:
    """A duration as it is typed, in full tens of seconds, or in full minutes where it is long."""
    if seconds < 600:
        return f"{math.ceil(seconds / 10) * 10}s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes}m" if minutes < 600 else f"{math.ceil(minutes / 60)}h"
