"""Scores a checkpoint on labelled images: the one pass behind the end of a training and `evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from classifier_training.config.schema import Config, DataConfig
from classifier_training.data.loading.dataset import EvaluationDataset
from classifier_training.data.loading.loaders import BatchLoader, evaluation_loader
from classifier_training.evaluation.score import Precision, score_model
from classifier_training.metrics.intervals import score_intervals
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.checkpoint import load_model, read_checkpoint
from classifier_training.models.device import resolve_accelerator
from classifier_training.models.grad_cam import cam_function
from classifier_training.results.scored_pass import LabelledImages, ScoredPass
from classifier_training.types import Preprocessing, Progress


def score_checkpoint(
    path: Path,
    choose: Callable[[tuple[str, ...]], LabelledImages],
    config: Config,
    *,
    device: torch.device | None = None,
    precision: Precision | None = None,
    progress: Progress | None = None,
) -> ScoredPass:
    """Scores the weights of a checkpoint.

    Args:
        path: The ``.ckpt`` file.
        choose: Gives the images once the classes are known.
        config: Batch size, workers, device, precision and Grad-CAM.
        device: Where to compute; None: as configured.
        precision: Arithmetic of the forward pass; None: as configured.
        progress: Called with the number of images that have been scored; may raise to stop.
    """
    device = device or torch.device(resolve_accelerator(config.trainer.accelerator))
    model = load_model(path)
    images = choose(model.classes)
    scores, predictions = score_model(
        model,
        _batches(images, model.preprocessing, config.data),
        len(model.classes),
        device=device,
        precision=precision or _configured_precision(config, device),
        preprocessing=model.preprocessing,
        progress=None if progress is None else lambda done: progress(done, len(images.files)),
    )
    scored = ScoredPass(
        images=images,
        model=str(path),
        scores=scores,
        predictions=predictions,
        intervals=score_intervals(scores),
        preprocessing=model.preprocessing,
        epoch=int(read_checkpoint(path)["epoch"]),
    )
    return _with_examples(scored, model, config, device)


def _batches(images: LabelledImages, preprocessing: Preprocessing, config: DataConfig) -> BatchLoader:
    records, max_pixels = images.records or (), config.max_image_pixels
    dataset = EvaluationDataset(records, images.labels, preprocessing, max_pixels=max_pixels)
    return evaluation_loader(dataset, config.batch_size, num_workers=config.num_workers, as_float=False)


def _with_examples(
    scored: ScoredPass, model: BaseClassificationModel, config: Config, device: torch.device
) -> ScoredPass:
    """The pass with the settings of its examples, and their Grad-CAM."""
    records, max_pixels = scored.images.records or (), config.data.max_image_pixels
    cam = cam_function(model, records, scored.predictions, device, max_pixels=max_pixels)
    return replace(
        scored,
        cam=cam if config.report.grad_cam else None,
        num_examples=config.report.num_pictures,
        max_pixels=max_pixels,
    )


def _configured_precision(config: Config, device: torch.device) -> Precision:
    """Half precision that was chosen for a GPU is not used on a CPU."""
    precision = config.trainer.precision
    chosen_for_gpu = config.trainer.accelerator != "cpu" and device.type == "cpu"
    return "32-true" if precision == "auto" or chosen_for_gpu else precision
