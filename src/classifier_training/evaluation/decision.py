"""What the thresholds of a model hold on scored images; or others, fitted to its validation images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from classifier_training.errors import CheckpointError, ConfigError
from classifier_training.inference.decision import Decision
from classifier_training.metrics.scores import Predictions
from classifier_training.results.decision_effect import decision_effect
from classifier_training.results.decision_file import DecisionEffect
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.run.folder import RunFolder

if TYPE_CHECKING:
    from classifier_training.config.overrides import Overrides
    from classifier_training.config.schema import Config
    from classifier_training.models.decision import FittedDecision


def effect_of(predictions: Predictions, decision: Decision | None) -> DecisionEffect | None:
    """What the thresholds of a model hold; None where it has none."""
    if decision is None:
        return None
    return decision_effect(predictions, decision.abstain_threshold, decision.set_threshold)


def fitted_as_given(
    path: Path, run: RunFolder | None, given: Overrides | None, settings: Config | None
) -> FittedDecision | None:
    """The thresholds that settings of ``decision.`` ask for; None where there are no such settings.

    They are fitted to the validation images of the model's run, and neither the model nor its run is changed.

    Args:
        path: The model, a checkpoint or an ONNX file.
        run: Its run; None: it is not known.
        given: The settings that were given.
        settings: The configuration with them.

    Raises:
        CheckpointError: Nothing is known of the validation images of the model.
        ConfigError: A target cannot be reached on them.
    """
    if settings is None or given is None or not any(one.key.startswith("decision.") for one in given.settings):
        return None
    from classifier_training.models.checkpoint import read_validated
    from classifier_training.models.decision import fit_decision

    fitted = fit_decision(read_validated(_checkpoint_of(path, run)), settings.decision)
    if fitted.reasons:
        raise ConfigError("; ".join(fitted.reasons))
    return fitted


def decided_by(scored: ScoredPass, fitted: FittedDecision | None) -> ScoredPass:
    """The pass with what other thresholds hold; None: with those that it has."""
    return scored if fitted is None else replace(scored, decision=effect_of(scored.predictions, fitted.decision))


def _checkpoint_of(path: Path, run: RunFolder | None) -> Path:
    """The checkpoint of a model, which keeps what is known of the validation images."""
    if path.suffix == ".ckpt":
        return path
    if run is None or not run.best_checkpoint.is_file():
        raise CheckpointError(
            f"{path} alone does not hold the validation images that a threshold is fitted to; evaluate its run, or"
            " export it with the target: classifier-training export RUN --target-precision 0.98"
        )
    return run.best_checkpoint
