"""Scores a checkpoint on labelled images: the one pass behind the end of a training and `evaluate`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from classifier_training.config.schema import Config
from classifier_training.data.loading.dataset import EvaluationDataset
from classifier_training.data.loading.loaders import evaluation_loader
from classifier_training.data.loading.normalize import normalize_images
from classifier_training.evaluation.photos import Chooser, with_limit
from classifier_training.metrics.accumulator import ScoringPass
from classifier_training.metrics.intervals import score_intervals
from classifier_training.metrics.scores import Predictions, Scores
from classifier_training.models.checkpoint import load_model, read_checkpoint
from classifier_training.models.device import resolve_accelerator
from classifier_training.models.grad_cam import cam_function
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.types import ClassificationBatch, Preprocessing, Progress


def score_checkpoint(
    path: Path,
    choose: Chooser,
    config: Config,
    *,
    device: torch.device | None = None,
    precision: Precision | None = None,
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> ScoredPass:
    """Scores the weights of a checkpoint on the images that ``choose`` gives once the classes are known.

    Device and precision are as configured where they are None, and images of more than ``max_pixels``, or than the
    model was trained with, are refused. ``progress`` may raise to stop.
    """
    device = device or torch.device(resolve_accelerator(config.trainer.accelerator))
    model = load_model(path)
    preprocessing = with_limit(model.preprocessing, config, max_pixels)
    images = choose(model.classes, preprocessing.decoding)
    records = images.records or ()
    dataset = EvaluationDataset(records, images.labels, preprocessing)
    scores, predictions = score_model(
        model,
        evaluation_loader(dataset, config.data.batch_size, num_workers=config.data.num_workers, as_float=False),
        len(model.classes),
        device=device,
        precision=precision or _configured_precision(config, device),
        preprocessing=preprocessing,
        progress=None if progress is None else lambda done: progress(done, len(images.files)),
    )
    cam = cam_function(model, records, predictions, device, decoding=preprocessing.decoding)
    return ScoredPass(
        images=images,
        model=str(path),
        scores=scores,
        predictions=predictions,
        intervals=score_intervals(scores),
        preprocessing=preprocessing,
        epoch=int(read_checkpoint(path)["epoch"]),
        cam=cam if config.report.grad_cam else None,
        num_examples=config.report.num_pictures,
    )


def _configured_precision(config: Config, device: torch.device) -> Precision:
    """Half precision that was chosen for a GPU is not used on a CPU."""
    precision = config.trainer.precision
    chosen_for_gpu = config.trainer.accelerator != "cpu" and device.type == "cpu"
    return "32-true" if precision == "auto" or chosen_for_gpu else precision


Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@torch.inference_mode()
def score_model(
    model: nn.Module,
    batches: Iterable[ClassificationBatch],
    num_classes: int,
    *,
    device: torch.device,
    precision: Precision = "32-true",
    preprocessing: Preprocessing | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Scores, Predictions]:
    """Computes the scores of one pass, in the precision that the model was validated with.

    Args:
        model: Images float32 (B, 3, S, S) to logits (B, K), in evaluation mode; it is moved to ``device``.
        batches: The labelled images.
        num_classes: K.
        device: Where to compute.
        precision: Arithmetic of the forward pass.
        preprocessing: Normalises images that come as uint8, on the device; None: they come normalised.
        progress: Called after each batch with the number of images so far; may raise to stop.

    Returns:
        The scores and the predictions; their probabilities are kept as far as `ScoringPass` has room.

    Raises:
        DataError: There is no image to score.
    """
    model.to(device)
    scoring = ScoringPass(num_classes)
    for batch in batches:
        images = batch["images"].to(device, non_blocking=True)
        if preprocessing is not None and images.dtype == torch.uint8:
            images = normalize_images(images, preprocessing)
        with _autocast(device, precision):
            logits = model(images)
        scoring.update(logits.float().cpu().numpy(), batch["labels"].numpy())
        if progress is not None:
            progress(scoring.num_images)
    return scoring.result()


def _autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[object]:
    if precision == "32-true":
        return contextlib.nullcontext()
    # on a CPU Lightning, which validated, takes bfloat16 for both
    is_half = precision == "16-mixed" and device.type != "cpu"
    return torch.autocast(device.type, torch.float16 if is_half else torch.bfloat16)
