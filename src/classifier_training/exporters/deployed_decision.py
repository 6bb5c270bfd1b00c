"""The decision that travels in an exported file: that of the checkpoint, or one that the export was asked for."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np

from classifier_training.config.schema import DecisionConfig
from classifier_training.errors import ConfigError, RunError
from classifier_training.exporters.forms import export_form
from classifier_training.files.text import plain_text
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.decision import Decision
from classifier_training.metrics.scores import Predictions
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.checkpoint import read_checkpoint, read_validated
from classifier_training.models.decision import fit_decision
from classifier_training.results.decision_effect import decision_effect, describe_decision
from classifier_training.results.decision_file import DecisionEffect
from classifier_training.results.folder import read_scores
from classifier_training.results.results_file import ResultsFile
from classifier_training.results.tables import check_probabilities, read_predictions_csv
from classifier_training.run.folder import INT8, RunFolder, ScoredFolder
from classifier_training.run.records import DamagedFileError, read_record, to_json
from classifier_training.terminal.terminal import Terminal


def deployed_decision(
    run: RunFolder, model: BaseClassificationModel, targets: DecisionConfig | None, terminal: Terminal
) -> Decision | None:
    """The thresholds of an exported file, with what they hold on the images of the run's final scores.

    Args:
        run: Its folder.
        model: Of ``best.ckpt``.
        targets: What they are to reach, by the validation images of the run; None: they are those of the model.
        terminal: Where it is said what other thresholds than those of the model hold.

    Raises:
        CheckpointError: ``best.ckpt`` keeps nothing of its validation images.
        ConfigError: A target cannot be reached on them.
    """
    decision = model.decision
    if targets is not None:
        fitted = fit_decision(read_validated(run.best_checkpoint), targets)
        if fitted.reasons:
            raise ConfigError("; ".join(fitted.reasons))
        decision = fitted.decision
    if decision is None:
        return None
    split, effect = _measured(run, model, decision) or (None, None)
    if targets is not None:
        terminal.info(f"thresholds fitted on {decision.num_images} validation images of {run.root}")
        for sentence in () if effect is None else describe_decision(effect):
            terminal.info(f"{sentence}, on {split}")
    return decision if effect is None else replace(decision, measured={"split": split, **to_json(effect)})


def card_of_form(card: DeploymentCard, form: str) -> DeploymentCard:
    """The card as a form has it, without what is known of float32 only and would mislead.

    A form that computes otherwise has no measured figures of its thresholds. Eight bits also move the logits as a
    whole, so that the threshold of an unknown score and the distributions that drift is measured against are others.
    """
    if export_form(form).convert is None:
        return card
    decision = None if card.decision is None else replace(card.decision, measured=None)
    if form == INT8:
        return replace(card, decision=decision, unknown=None, validation=None)
    return replace(card, decision=decision)


def _measured(
    run: RunFolder, model: BaseClassificationModel, decision: Decision
) -> tuple[str, DecisionEffect | None] | None:
    """What thresholds hold on a split, counted in the stored predictions, so that no image is scored.

    None where these are missing, damaged, or of other weights than the model's.
    """
    with contextlib.suppress(DamagedFileError, RunError, OSError, ValueError, KeyError):
        results = read_record(run.results, ResultsFile)
        split = results.split
        if results.decision is not None and results.decision.num_folds:
            return None  # the final model of a cross-validation was trained on these images
        folder = run.scored(split)
        scores = read_scores(folder)
        temperature = None if scores.temperature is None else scores.temperature.temperature
        is_of_model = scores.epoch == int(read_checkpoint(run.best_checkpoint)["epoch"])
        if is_of_model and (temperature, scores.classes) == (model.temperature, model.classes):
            predictions = _read_predictions(folder, scores.classes)
            return split, decision_effect(predictions, decision.abstain_threshold, decision.set_threshold)
    return None


def _read_predictions(folder: ScoredFolder, classes: tuple[str, ...]) -> Predictions:
    """The stored predictions; confidences are exact where the probabilities of all classes are stored."""
    rows, index_of = list(read_predictions_csv(folder.predictions)), {name: one for one, name in enumerate(classes)}
    labels = np.array([index_of[plain_text(row.true)] for row in rows], np.int64)
    predicted = np.array([index_of[plain_text(row.predicted)] for row in rows], np.int64)
    confidence = np.array([row.confidence for row in rows], np.float32)
    losses = np.array([row.loss for row in rows], np.float32)
    if not folder.probabilities.is_file():
        return Predictions(labels, predicted, confidence, losses)
    check_probabilities(folder.probabilities, len(rows))
    probabilities = np.load(folder.probabilities, allow_pickle=False)
    confidence = np.take_along_axis(probabilities, predicted[:, None], axis=1)[:, 0]
    return Predictions(labels, predicted, confidence, losses, probabilities)
