"""What a finished training fits to the validation logits of its final weights, and keeps in best.ckpt.

That is the temperature of the probabilities, the thresholds of the decision, and the unknown score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from classifier_training.data.loading.failures import explain_loader_failures
from classifier_training.evaluation.checkpoint import Passes, model_logits, score_logits, scoring_loader
from classifier_training.evaluation.photos import with_limit
from classifier_training.inference.decision import DECISION
from classifier_training.inference.unknown import UNKNOWN
from classifier_training.metrics.scores import Predictions
from classifier_training.metrics.temperature import (
    MAX_VALUES,
    TEMPERATURE,
    FittedTemperature,
    fit_temperature,
    too_few_images,
)
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.checkpoint import load_model, read_checkpoint, write_checkpoint
from classifier_training.models.decision import (
    VALIDATED,
    FittedDecision,
    ValidatedImages,
    fit_decision,
    too_few_to_decide,
)
from classifier_training.models.unknown import head_inputs
from classifier_training.results.results_file import TemperatureRecord
from classifier_training.results.scored_pass import LabelledImages, ScoredPass
from classifier_training.results.temperature_effect import describe_effect
from classifier_training.results.unknown_file import UnknownRecord
from classifier_training.run.folder import RunFolder
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.calibration_of_folds import TRAINED_ON, calibration_of_folds
from classifier_training.training.plan import Plan
from classifier_training.training.unknown import (
    MAX_FEATURES,
    FittedUnknown,
    ValidationOutputs,
    fit_unknown,
    has_linear_head,
)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What was fitted to the validation logits of the final weights.

    Attributes:
        fitted: The temperature; None: none was asked for.
        decision: The thresholds on the probabilities.
        validated: What is known of the validation images; None where no logits were computed.
        predictions: Those of these images, with the temperature; None where they are of several models or unknown.
        passes: The logits of all validation images in float32, on the CPU; None where they were not computed or held.
        num_folds: Of how many folds the validation images are, whose models have not trained on them; 0: its own.
        unknown: The unknown score.
    """

    fitted: FittedTemperature | None
    decision: FittedDecision
    validated: ValidatedImages | None = None
    predictions: Predictions | None = None
    passes: Passes | None = None
    num_folds: int = 0
    unknown: FittedUnknown = field(default_factory=FittedUnknown)


def calibrate_best(
    run: RunFolder,
    plan: Plan,
    images: LabelledImages,
    terminal: Terminal,
    device: torch.device,
    check_stop: Callable[[], None],
) -> Calibration:
    """Fits what is to be known of ``best.ckpt`` and writes it into the file; weights and labels stay.

    Args:
        run: Its folder.
        plan: What was trained.
        images: The validation images. Of very many, see `MAX_VALUES`, some from all over them are taken.
        terminal: Where the progress is shown.
        device: Where to compute.
        check_stop: Called after each batch; may raise to stop.
    """
    if plan.config.data.fold == "all":
        calibration = _of_folds(run, plan)
    else:
        calibration = _fit(run, plan, images, terminal, device, check_stop)
    fitted, decision, validated = calibration.fitted, calibration.decision.decision, calibration.validated
    unknown = calibration.unknown.detector
    _write(
        run,
        {
            TEMPERATURE: fitted.value if fitted is not None and fitted.is_fitted else None,
            DECISION: None if decision is None else decision.to_dict(),
            VALIDATED: None if validated is None else validated.to_tensors(),
            UNKNOWN: None if unknown is None else unknown.to_values(),
        },
    )
    return calibration


def _fit(
    run: RunFolder,
    plan: Plan,
    images: LabelledImages,
    terminal: Terminal,
    device: torch.device,
    check_stop: Callable[[], None],
) -> Calibration:
    """As `calibrate_best`, without writing; no logit is computed where there are too few images for anything."""
    targets, has_temperature = plan.config.decision, plan.config.calibration.temperature
    few = too_few_images(len(images.labels)) if has_temperature else None
    too_few = too_few_to_decide(len(images.labels))
    if too_few is not None:
        return Calibration(
            few, FittedDecision(None, (too_few,) if targets.is_given else ()), unknown=_no_unknown(plan, too_few)
        )
    step = math.ceil(len(images.labels) * len(images.classes) / MAX_VALUES)
    model = load_model(run.best_checkpoint)
    passes, features = _outputs(model, plan, images, step, terminal, device, check_stop)
    fitted = few
    logits, labels = (np.concatenate([part.numpy() for part in parts]) for parts in zip(*passes, strict=True))
    if has_temperature and few is None:
        fitted = fit_temperature(logits, labels)
    value = fitted.value if fitted is not None and fitted.is_fitted else None
    named = (str(run.best_checkpoint), images.files[::step])
    _, predictions = score_logits(passes, len(images.classes), value, named)
    validated = ValidatedImages.of(predictions)
    decision = fit_decision(validated, targets)
    unknown = FittedUnknown()
    if plan.config.calibration.unknown:
        unknown = fit_unknown(plan, model, ValidationOutputs(logits, labels, features), terminal, device, check_stop)
    return Calibration(fitted, decision, validated, predictions, passes if step == 1 else None, unknown=unknown)


def _of_folds(run: RunFolder, plan: Plan) -> Calibration:
    """What the models of the folds have shown, for the final one, which has trained on its validation images."""
    fitted, validated, num_folds = calibration_of_folds(run, plan.config.data.folds or 0)
    if validated is None:
        reasons = (f"no threshold was fitted: {TRAINED_ON}",) if plan.config.decision.is_given else ()
        decision = FittedDecision(None, reasons)
    else:
        decision = fit_decision(validated, plan.config.decision)
    has_temperature = plan.config.calibration.temperature
    return Calibration(
        fitted if has_temperature else None,
        decision,
        validated,
        num_folds=num_folds,
        unknown=_no_unknown(plan, "its validation photos are among those that it was trained on"),
    )


def _no_unknown(plan: Plan, reason: str) -> FittedUnknown:
    """Why there is no unknown score, where one was asked for."""
    return FittedUnknown(record=UnknownRecord(reason=reason) if plan.config.calibration.unknown else None)


@torch.inference_mode()
def _outputs(
    model: BaseClassificationModel,
    plan: Plan,
    images: LabelledImages,
    step: int,
    terminal: Terminal,
    device: torch.device,
    check_stop: Callable[[], None],
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], NDArray[np.float32] | None]:
    """Logits in exact float32 and labels of every so many-th image, batch by batch, on the CPU, and their features."""
    preprocessing = with_limit(model.preprocessing, plan.config, None)
    records, labels = (images.records or ())[::step], images.labels[::step]
    loader = scoring_loader(records, labels, preprocessing, plan.config)
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    num_images = 0
    head = has_linear_head(model) if plan.config.calibration.unknown else None
    is_kept = head is not None and head.in_features * len(records) <= MAX_FEATURES
    with (
        explain_loader_failures(),
        head_inputs(head if is_kept else None) as features,
        terminal.progress("calibrating on val", "images") as progress,
    ):
        for logits, truth in model_logits(model, loader, device, "float32", preprocessing):
            check_stop()
            found.append((logits.cpu(), truth.clone()))
            num_images += len(truth)
            progress(num_images, len(records))
    return found, np.concatenate(features) if sum(map(len, features)) == num_images else None


def _write(run: RunFolder, values: Mapping[str, Any]) -> None:
    """Writes values into ``best.ckpt``, and removes those of other weights; nothing else in the file changes."""
    known = set(read_checkpoint(run.best_checkpoint))  # a file that is still mapped cannot be replaced everywhere
    if all(value is None and key not in known for key, value in values.items()):
        return
    content = read_checkpoint(run.best_checkpoint, mmap=False)
    for key, value in values.items():
        content.pop(key, None)
        if value is not None:
            content[key] = value
    write_checkpoint(content, run.best_checkpoint)


def temperature_record(calibration: Calibration, scored: ScoredPass) -> TemperatureRecord | None:
    """What ``results.json`` holds of the temperature, with its effect on the images of the final scores."""
    fitted, effect = calibration.fitted, scored.temperature
    if fitted is None:
        return None
    record = TemperatureRecord(
        value=fitted.value, num_images=fitted.num_images, reason=fitted.reason, split=str(scored.images.split),
        num_folds=calibration.num_folds,
    )  # fmt: skip
    return (
        record if effect is None or calibration.num_folds else replace(record, before=effect.before, after=effect.after)
    )


def show_temperature(terminal: Terminal, record: TemperatureRecord | None, scored: ScoredPass) -> None:
    """Prints the temperature and what it changes, in one line, or why there is none."""
    if record is None:
        return
    if scored.temperature is None:
        terminal.info(f"no temperature for the probabilities: {record.reason}")
        return
    if record.num_folds:
        terminal.info(
            f"temperature {record.value:.3g}, the mean of those of {record.num_folds} folds: the photos of this split"
            " were trained on, and show nothing of it"
        )
        return
    terminal.info(f"{describe_effect(scored.temperature)}, on {record.split}")
    same = "; it is measured on the same images, as there is no test split" if record.split == "val" else ""
    terminal.info(f"the temperature was fitted on {record.num_images} validation images{same}")
