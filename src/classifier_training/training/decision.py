"""What a finished training records and prints of the thresholds on its probabilities."""

from __future__ import annotations

import numpy as np

from classifier_training.config.sections.outputs import DecisionConfig
from classifier_training.metrics.conformal import raps_scores, raps_sets, raps_threshold
from classifier_training.metrics.scores import Predictions
from classifier_training.results.decision_effect import decision_effect, describe_abstention, describe_sets, set_figures
from classifier_training.results.decision_file import DecisionEffect, DecisionRecord, SetFigures
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.calibration import Calibration

_MAX_VALUES = 10_000_000
"""The most probabilities, N times K, that are sorted for RAPS."""


def decision_record(calibration: Calibration, targets: DecisionConfig, scored: ScoredPass) -> DecisionRecord | None:
    """What ``results.json`` holds of the thresholds; None where there is nothing to say.

    Args:
        calibration: With the thresholds.
        targets: What was asked for.
        scored: The final scores.
    """
    (decision, reasons), validated, predictions = calibration.decision, calibration.validated, calibration.predictions
    if decision is None or validated is None:
        num_images = 0 if validated is None else len(validated)
        return (
            DecisionRecord(num_images=num_images, reasons=reasons, split=str(scored.images.split)) if reasons else None
        )
    thresholds = decision.abstain_threshold, decision.set_threshold
    known = validated.to_predictions() if predictions is None else predictions
    raps = None
    if decision.set_coverage is not None and predictions is not None:
        raps = raps_figures(predictions, scored.predictions, decision.set_coverage)
    return DecisionRecord(
        num_images=decision.num_images,
        abstain_threshold=decision.abstain_threshold,
        target_precision=targets.target_precision,
        target_coverage=targets.target_coverage,
        set_threshold=decision.set_threshold,
        set_coverage=targets.set_coverage,
        set_interval=decision.set_interval,
        reasons=reasons,
        split=str(scored.images.split),
        num_folds=calibration.num_folds,
        validation=decision_effect(known, *thresholds) or DecisionEffect(),
        measured=DecisionEffect() if calibration.num_folds else scored.decision or DecisionEffect(),
        raps=raps,
    )


def raps_figures(fitted_on: Predictions, measured_on: Predictions, coverage: float) -> SetFigures | None:
    """What RAPS sets hold on some images; None where not all probabilities are known, or are too many.

    Args:
        fitted_on: Whose threshold it is.
        measured_on: The images.
        coverage: How often the true class is to be in its set.
    """
    of_fit, of_measure = fitted_on.probabilities, measured_on.probabilities
    if of_fit is None or of_measure is None or max(of_fit.size, of_measure.size) > _MAX_VALUES:
        return None
    generator = np.random.default_rng(0)
    threshold = raps_threshold(raps_scores(of_fit, generator.random(len(of_fit))), fitted_on.labels, coverage)
    if threshold is None:
        return None
    scores = raps_scores(of_measure, generator.random(len(of_measure)))
    return set_figures("raps", threshold, raps_sets(scores, threshold, measured_on.predicted), measured_on.labels)


def show_decision(terminal: Terminal, record: DecisionRecord | None) -> None:
    """Prints what the thresholds hold, and a warning for each that could not be fitted."""
    if record is None:
        return
    shown, where = record.measured, f"on {record.split}"
    if record.num_folds:
        shown, where = record.validation, f"on the photos of {record.num_folds} folds, which their models had not seen"
    elif record.split == "val":
        where += ", the images that the threshold was fitted on"
    if shown.abstention is not None:
        wanted, found = record.target_precision, shown.abstention.precision
        target = f"precision of {wanted:.2%}" if wanted is not None else f"coverage of {record.target_coverage:.2%}"
        terminal.info(f"{describe_abstention(shown.abstention)}, {where}; the target was a {target} on val")
        if wanted is not None and found is not None and found < wanted:
            terminal.info(f"the precision on {record.split} is below the target of {wanted:.2%}, which held on val")
    if shown.sets is not None and record.set_interval is not None:
        low, high = record.set_interval
        terminal.info(
            f"{describe_sets(shown.sets)}, {where}; the target is {record.set_coverage:.2%}, which"
            f" {record.num_images} validation images allow between {low:.2%} and {high:.2%}"
        )
    for reason in record.reasons:
        terminal.warn(f"{reason}; the model does not decide by it")
