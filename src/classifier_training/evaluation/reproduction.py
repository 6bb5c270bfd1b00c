"""Whether a checkpoint reproduces the number for which it was kept: the guard at the end of every training."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import torch

from classifier_training.config.schema import Config
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.evaluation.checkpoint import Passes, model_logits, scoring_loader
from classifier_training.evaluation.photos import with_limit
from classifier_training.metrics.accumulator import ScoringPass
from classifier_training.metrics.scores import Scores, check_finite
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.checkpoint import load_model, read_checkpoint
from classifier_training.models.precision import Precision, TrainingPrecision
from classifier_training.results.results_file import Reproduction
from classifier_training.results.scored_pass import LabelledImages
from classifier_training.types import Progress

LOSS_TOLERANCE: Final = 1e-4
"""Largest relative difference of ``val/loss`` where the arithmetic is the same."""
ROUNDED_TOLERANCE: Final = 0.005
"""Largest difference of a score, and a tenth of the largest relative one of the loss, where it is not the same."""
ROUNDED_IMAGES: Final = 2
"""So many images may have another prediction then, however few there are."""


def reproduce(
    path: Path,
    images: LabelledImages,
    config: Config,
    monitored: float,
    *,
    device: torch.device,
    progress: Progress | None = None,
    is_chosen: bool = False,
    held: Passes | None = None,
) -> Reproduction:
    """Scores a checkpoint on the validation images as the training has scored it, in its precision.

    Scores follow from counts, so they must be equal to the last digit, and losses within `LOSS_TOLERANCE`. Where the
    arithmetic differs, because the training was compiled, ran on several devices, on other ones before a resume, or on
    a GPU without ``trainer.deterministic``, a rounded logit may change the predictions of a few images:
    `rounded_tolerance` holds.

    Args:
        path: The checkpoint.
        images: The validation images.
        config: The configuration of the run.
        monitored: The value of ``checkpoint.monitor`` for which the checkpoint was kept.
        device: Where the training computed.
        progress: Called with the number of images so far; may raise to stop.
        is_chosen: Whether ``monitored`` is the loss in float32 of weights that were chosen after the training.
        held: The logits of these images in that precision, where they are known, and then no model runs.
    """
    precision: Precision = "float32" if is_chosen else cast("TrainingPrecision", config.trainer.precision)
    model = load_model(path)
    if held is None:
        limited = with_limit(model.preprocessing, config, None)
        loader = scoring_loader(images.records or (), images.labels, limited, config)
        held = model_logits(model, loader, device, precision, limited)
    scores, loss = _score_again(model, held, f"{path} in {precision}", len(images.labels), progress)
    is_exact = is_same_arithmetic(config, device, path)
    if is_chosen or config.checkpoint.monitor == "val/loss":
        tolerance = abs(monitored) * (LOSS_TOLERANCE if is_exact else 10 * ROUNDED_TOLERANCE)
        return replace(_compared(monitored, loss, tolerance, config), monitor="val/loss", precision=precision)
    return compare_score(monitored, scores, config, is_exact=is_exact)


@torch.inference_mode()
def _score_again(
    model: BaseClassificationModel, passes: Passes, name: str, num_images: int, progress: Progress | None
) -> tuple[Scores, float]:
    """The scores and the loss of a model on the validation images."""
    # the metrics of the model would ask the other processes of the training, which are not here
    scoring, losses = ScoringPass(len(model.classes), max_probabilities=0), list[float]()
    for logits, labels in passes:
        losses += model.loss.evaluate(logits, labels.to(logits.device)).cpu().double().tolist()
        found = logits.cpu().numpy()
        check_finite(found, name, [f"validation image {scoring.num_images + 1}"] * len(found))
        scoring.update(found, labels.numpy())
        if progress is not None:
            progress(scoring.num_images, num_images)
    return scoring.result()[0], math.fsum(losses) / len(losses)


def compare_score(monitored: float, scores: Scores, config: Config, *, is_exact: bool) -> Reproduction:
    """Compares the monitored score, which is not the loss, with that of the checkpoint.

    Args:
        monitored: The value for which the checkpoint was kept.
        scores: Of the checkpoint on the validation images.
        config: The configuration of the run.
        is_exact: Whether both come from the same arithmetic, so that they must be equal.
    """
    name = config.checkpoint.monitor.removeprefix("val/")
    tolerance = 0.0 if is_exact else rounded_tolerance(name, scores)
    return _compared(monitored, scores.by_name()[name], tolerance, config)


def rounded_tolerance(name: str, scores: Scores) -> float:
    """Largest difference of a score that rounding explains: `ROUNDED_TOLERANCE`, or the weight of `ROUNDED_IMAGES`.

    One image weighs 1 / N in top-1 and top-5. In a mean over K classes it weighs 1 / (K n), n being the images of its
    class.
    """
    if name in {"top1", "top5"}:
        return max(ROUNDED_TOLERANCE, ROUNDED_IMAGES / scores.num_images)
    supports = [one.support for one in scores.classes if one.support]
    return max(ROUNDED_TOLERANCE, ROUNDED_IMAGES / (len(supports) * min(supports)))


def _compared(monitored: float, measured: float, tolerance: float, config: Config) -> Reproduction:
    return Reproduction(
        monitor=config.checkpoint.monitor,
        monitored=monitored,
        measured=measured,
        tolerance=tolerance,
        passed=abs(measured - monitored) <= tolerance,
        precision=config.trainer.precision,
    )


def is_same_arithmetic(config: Config, device: torch.device, checkpoint: Path) -> bool:
    """Whether scoring again computes what the validation of the training computed, in the same order.

    Args:
        config: The configuration of the run, as it is now.
        device: Where the training computes now.
        checkpoint: The weights that are scored; they say on what they were trained, which may have been before a
            resume on other devices.
    """
    position = read_checkpoint(checkpoint).get(ImageFolderDataModule.__qualname__, {})
    num_processes = config.trainer.devices if isinstance(config.trainer.devices, int) else 1
    is_alone = num_processes * config.trainer.num_nodes == 1 and position.get("world_size", 1) == 1
    is_same_device = position.get("device") in {None, device.type}  # an early version did not write it
    is_repeatable = device.type == "cpu" or (device.type == "cuda" and config.trainer.deterministic)
    return is_same_device and is_repeatable and is_alone and not config.model.compile
