"""Whether a checkpoint reproduces the number for which it was kept: the guard at the end of every training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from classifier_training.config.schema import Config
from classifier_training.evaluation.checkpoint import model_logits, scoring_loader
from classifier_training.evaluation.photos import with_limit
from classifier_training.metrics.accumulator import ScoringPass
from classifier_training.metrics.scores import Scores, check_finite
from classifier_training.models.checkpoint import load_model
from classifier_training.models.precision import TrainingPrecision
from classifier_training.results.results_file import Reproduction
from classifier_training.types import ImageRecord, Progress

LOSS_TOLERANCE: Final = 1e-4
"""Largest relative difference of ``val/loss`` where the arithmetic is the same."""
ROUNDED_TOLERANCE: Final = 0.005
"""Largest difference of a score, and a tenth of the largest relative one of the loss, where it is not the same."""


def reproduce(
    path: Path,
    records: Sequence[ImageRecord],
    labels: NDArray[np.int64],
    config: Config,
    monitored: float,
    *,
    device: torch.device,
    progress: Progress | None = None,
) -> Reproduction:
    """Scores a checkpoint on the validation images as the training has scored it, in its precision.

    Scores follow from counts, so they must be equal to the last digit, and losses within `LOSS_TOLERANCE`. Where the
    arithmetic differs, because the training was compiled, ran on several devices or on a GPU without
    ``trainer.deterministic``, a rounded logit may change the predictions of a few images: `ROUNDED_TOLERANCE` holds.

    Args:
        path: The checkpoint.
        records: The validation images.
        labels: int64 (N,), their classes.
        config: The configuration of the run.
        monitored: The value of ``checkpoint.monitor`` for which the checkpoint was kept.
        device: Where the training computed.
        progress: Called with the number of images so far; may raise to stop.
    """
    precision: TrainingPrecision = config.trainer.precision  # type: ignore[assignment]  # "auto" has been decided
    model = load_model(path)
    preprocessing = with_limit(model.preprocessing, config, None)
    loader = scoring_loader(records, labels, preprocessing, config)
    # the metrics of the model would ask the other processes of the training, which are not here
    scoring, losses = ScoringPass(len(model.classes), max_probabilities=0), list[float]()
    with torch.inference_mode():
        for logits, on_host in model_logits(model, loader, device, precision, preprocessing):
            losses += model.loss.evaluate(logits, on_host.to(device)).cpu().double().tolist()
            found = logits.cpu().numpy()
            check_finite(found, f"{path} in {precision}", [f"validation image {scoring.num_images + 1}"] * len(found))
            scoring.update(found, on_host.numpy())
            if progress is not None:
                progress(scoring.num_images, len(records))
    return _compare_monitored(monitored, losses, scoring.result()[0], config, device)


def _compare_monitored(
    monitored: float, losses: Sequence[float], scores: Scores, config: Config, device: torch.device
) -> Reproduction:
    measured = {"loss": math.fsum(losses) / len(losses), **scores.by_name()}
    name = config.checkpoint.monitor.removeprefix("val/")
    return compare(monitored, measured[name], config, device, is_loss=name == "loss")


def compare(monitored: float, measured: float, config: Config, device: torch.device, *, is_loss: bool) -> Reproduction:
    """Compares the monitored value with that of the checkpoint, within what the arithmetic allows."""
    if is_loss:
        tolerance = (LOSS_TOLERANCE if is_same_arithmetic(config, device) else 10 * ROUNDED_TOLERANCE) * abs(monitored)
    else:
        tolerance = 0.0 if is_same_arithmetic(config, device) else ROUNDED_TOLERANCE
    return Reproduction(
        monitor=config.checkpoint.monitor,
        monitored=monitored,
        measured=measured,
        tolerance=tolerance,
        passed=abs(measured - monitored) <= tolerance,
        precision=config.trainer.precision,
    )


def is_same_arithmetic(config: Config, device: torch.device) -> bool:
    """Whether scoring again computes what the validation of the training computed, in the same order."""
    num_devices = config.trainer.devices
    if isinstance(num_devices, str):
        num_devices = torch.cuda.device_count() if device.type == "cuda" else 1
    is_alone = num_devices * config.trainer.num_nodes == 1
    is_repeatable = device.type == "cpu" or (device.type == "cuda" and config.trainer.deterministic)
    return is_repeatable and is_alone and not config.model.compile
