"""What a finished training fits to the validation logits of its final weights, and keeps in best.ckpt.

That is the temperature of the probabilities, and the thresholds of the decision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from classifier_training.data.loading.failures import explain_loader_failures
from classifier_training.evaluation.checkpoint import Passes, model_logits, score_logits, scoring_loader
from classifier_training.evaluation.photos import with_limit
from classifier_training.inference.decision import DECISION
from classifier_training.metrics.scores import Predictions
from classifier_training.metrics.temperature import (
    MAX_VALUES,
    TEMPERATURE,
    FittedTemperature,
    fit_temperature,
    too_few_images,
)
from classifier_training.models.checkpoint import load_model, read_checkpoint, write_checkpoint
from classifier_training.models.decision import (
    VALIDATED,
    FittedDecision,
    ValidatedImages,
    fit_decision,
    too_few_to_decide,
)
from classifier_training.results.results_file import TemperatureRecord
from classifier_training.results.scored_pass import LabelledImages, ScoredPass
from classifier_training.results.temperature_effect import describe_effect
from classifier_training.run.folder import RunFolder
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.calibration_of_folds import TRAINED_ON, calibration_of_folds
from classifier_training.training.plan import Plan


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
    """

    fitted: FittedTemperature | None
    decision: FittedDecision
    validated: ValidatedImages | None = None
    predictions: Predictions | None = None
    passes: Passes | None = None
    num_folds: int = 0


def calibrate_best(
    run: RunFolder,
    plan: Plan,
    images: LabelledImages,
    terminal: Terminal,
    device: torch.device,
    check_stop: Callable[[], None],
) -> Calibration:
    """Fits temperature and thresholds of ``best.ckpt`` and writes them into the file; weights and labels stay.

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
    _write(
        run,
        {
            TEMPERATURE: fitted.value if fitted is not None and fitted.is_fitted else None,
            DECISION: None if decision is None else decision.to_dict(),
            VALIDATED: None if validated is None else validated.to_tensors(),
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
        return Calibration(few, FittedDecision(None, (too_few,) if targets.is_given else ()))
    step = math.ceil(len(images.labels) * len(images.classes) / MAX_VALUES)
    passes = _logits(run, plan, images, step, terminal, device, check_stop)
    fitted = few
    if has_temperature and few is None:
        logits = np.concatenate([part.numpy() for part, _ in passes])
        fitted = fit_temperature(logits, np.concatenate([labels.numpy() for _, labels in passes]))
    value = fitted.value if fitted is not None and fitted.is_fitted else None
    named = (str(run.best_checkpoint), images.files[::step])
    _, predictions = score_logits(passes, len(images.classes), value, named)
    validated = ValidatedImages.of(predictions)
    decision = fit_decision(validated, targets)
    return Calibration(fitted, decision, validated, predictions, passes if step == 1 else None)


def _of_folds(run: RunFolder, plan: Plan) -> Calibration:
    """What the models of the folds have shown, for the final one, which has trained on its validation images."""
    fitted, validated, num_folds = calibration_of_folds(run, plan.config.data.folds or 0)
    if validated is None:
        reasons = (f"no threshold was fitted: {TRAINED_ON}",) if plan.config.decision.is_given else ()
        decision = FittedDecision(None, reasons)
    else:
        decision = fit_decision(validated, plan.config.decision)
    has_temperature = plan.config.calibration.temperature
    return Calibration(fitted if has_temperature else None, decision, validated, num_folds=num_folds)


@torch.inference_mode()
def _logits(
    run: RunFolder,
    plan: Plan,
    images: LabelledImages,
    step: int,
    terminal: Terminal,
    device: torch.device,
    check_stop: Callable[[], None],
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Logits in exact float32 and labels of every so many-th image, batch by batch, on the CPU."""
    model = load_model(run.best_checkpoint)
    preprocessing = with_limit(model.preprocessing, plan.config, None)
    records, labels = (images.records or ())[::step], images.labels[::step]
    loader = scoring_loader(records, labels, preprocessing, plan.config)
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    num_images = 0
    with explain_loader_failures(), terminal.progress("calibrating on val", "images") as progress:
        for logits, truth in model_logits(model, loader, device, "float32", preprocessing):
            check_stop()
            found.append((logits.cpu(), truth.clone()))
            num_images += len(truth)
            progress(num_images, len(records))
    return found


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
