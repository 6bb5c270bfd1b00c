"""The time of a training that has a limit: how it is divided, and whether it is enough."""

from __future__ import annotations

import math
import time
from dataclasses import replace

from classifier_training.errors import ConfigError
from classifier_training.metrics.forecast import Curve, Forecast, forecast
from classifier_training.models.base import BaseClassificationModel
from classifier_training.run.processes import is_main_process
from classifier_training.run.time_budget import TimeBudget
from classifier_training.terminal.terminal import Terminal, duration
from classifier_training.training.costs import measure_costs
from classifier_training.training.plan import Plan


def plan_time(plan: Plan, model: BaseClassificationModel, started: float, terminal: Terminal, *, measure: bool) -> Plan:
    """Divides the time of a training that has a limit, and prints how; any other plan is returned as it is.

    Args:
        plan: What is trained.
        model: What is to be trained; it is left alone.
        started: When the command began, by the monotonic clock.
        terminal: Where messages go.
        measure: Whether a few steps are measured; those of a run that is resumed are known from its checkpoint.

    Raises:
        ConfigError: The time is too short for one epoch.
    """
    limit = plan.config.trainer.time_limit_seconds
    if limit is None:
        return plan
    budget = TimeBudget(limit, started)
    if measure and is_main_process():
        shared = budget.spent / max(time.process_time(), 1e-3)  # of its CPU, this process has had a part
        budget.costs = measure_costs(plan, model, slowness=min(3.0, max(1.0, shared)))
        _check_least(plan, budget)
        val_images = len(plan.photos.rows["val"])
        terminal.pairs(
            f"time limit {duration(limit)}", describe_time(budget, plan.config.trainer.max_epochs, val_images)
        )
    return replace(plan, time=budget)


def describe_time(budget: TimeBudget, max_epochs: int | None, val_images: int) -> dict[str, str]:
    """How the time is divided, as names and values."""
    costs = budget.costs
    epochs = max(1, math.floor((budget.left - costs.start - costs.reserve) / costs.epoch))
    number = f"about {epochs}, each of about {duration(costs.epoch)}"
    if max_epochs is not None and max_epochs <= epochs:
        number = f"{max_epochs}, each of about {duration(costs.epoch)}, which end before the time does"
    known = None if budget.probe is None else forecast(Curve((), epochs, val_images, budget.probe))
    return {
        "spent": f"{duration(budget.spent)}, from the start of the command",
        "epochs": f"{number}; the schedule follows the clock",
        "kept for the end": f"about {duration(costs.reserve)}: final scores, export and report",
        "forecast": "comes with the first epoch" if known is None else _explain(known, budget),
    }


def _explain(known: Forecast, budget: TimeBudget) -> str:
    return f"val/top1 {known}, because the probe has {budget.probe:.0%} after {duration(budget.spent)}"


def _check_least(plan: Plan, budget: TimeBudget) -> None:
    """Refuses a limit that leaves no time for one epoch."""
    costs = budget.costs
    if budget.left >= costs.least:
        return
    least = _rounded_up(1.1 * (budget.spent + costs.least))
    raise ConfigError(
        f"trainer.time_limit={plan.config.trainer.time_limit} is too short for one epoch: {duration(budget.spent)} are"
        f" spent on the start, an epoch of {plan.num_batches} batches takes about {duration(costs.epoch)} here, and"
        f" final scores, export and report about {duration(costs.reserve)}; the least that works is about"
        f" --time-limit {least}"
    )


def _rounded_up(seconds: float) -> str:
    """A duration as it is typed, in full tens of seconds, or in full minutes where it is long."""
    if seconds < 600:
        return f"{math.ceil(seconds / 10) * 10}s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes}m" if minutes < 600 else f"{math.ceil(minutes / 60)}h"
