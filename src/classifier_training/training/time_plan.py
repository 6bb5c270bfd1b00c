"""The time of a training that has a limit: how it is divided, and whether it is enough."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Final

from classifier_training.config.schema import Config, DistillConfig, RecipeConfig
from classifier_training.errors import ConfigError
from classifier_training.models.base import BaseClassificationModel
from classifier_training.run.processes import is_main_process
from classifier_training.run.time_budget import TimeBudget, epochs_within
from classifier_training.terminal.terminal import Terminal, duration
from classifier_training.training.costs import measure_costs
from classifier_training.training.plan import Plan
from classifier_training.training.probe_start import why_no_probe

MOST_SLOWNESS: Final = 4.0
"""A machine is not believed to be so many times busier than a quiet one at its end as well."""


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
        budget.costs = measure_costs(plan, model, budget, slowness=min(MOST_SLOWNESS, max(1.0, shared)))
        if budget.left < budget.costs.least:
            is_open = is_new and plan.config.recipe.name in {"auto", "finetune"} and plan.place.world_size == 1
            _check_least(plan, budget, may_probe=is_open and why_no_probe(plan, model) is None)
            terminal.warn(_too_short(plan, budget) + ": the probe is fitted instead, recipe=probe")
            return None
        terminal.pairs(f"time limit {duration(limit)}", describe_time(budget, plan.config))
    return replace(plan, time=budget)


def as_new_probe(config: Config) -> Config:
    """The configuration of the probe in place of a training for which there is no time."""
    recipe = RecipeConfig(name="probe", probe_views=config.recipe.probe_views)
    return config.model_copy(update={"recipe": recipe, "distill": DistillConfig()})


def describe_time(budget: TimeBudget, config: Config) -> dict[str, str]:
    """How the time is divided, as names and values."""
    costs, max_epochs = budget.costs, config.trainer.max_epochs
    epochs = epochs_within(budget.left - costs.start, costs)
    number = f"about {epochs}, each of about {duration(costs.epoch)}"
    if costs.epoch_at(0) > 1.1 * costs.epoch:
        number += f", the first of {duration(costs.epoch_at(0))}"
    if max_epochs is not None and max_epochs <= epochs:
        number = f"{max_epochs}, each of about {duration(costs.epoch)}, which end before the time does"
    return {
        "spent": f"{duration(budget.spent)}, from the start of the command",
        "epochs": f"{number}; the schedule follows the clock",
        "kept for the end": f"about {duration(costs.reserve)}: final scores, export and report",
        "forecast": "none yet; it comes with the first epoch, or with a probe before that",
    }


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
