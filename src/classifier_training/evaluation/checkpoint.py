"""Scores a checkpoint on labelled photos, as the run itself did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from classifier_training.config.schema import Config
from classifier_training.data.index.check import count_up
from classifier_training.data.loading.loaders import evaluation_loader
from classifier_training.evaluation.labelled import LabelledImages, ScoredPhotos
from classifier_training.evaluation.score import Precision, score_model
from classifier_training.models.checkpoint import load_model, read_checkpoint
from classifier_training.models.device import resolve_accelerator
from classifier_training.models.grad_cam import cam_function
from classifier_training.types import Progress


def score_checkpoint(
    path: Path,
    choose: Callable[[tuple[str, ...]], LabelledImages],
    settings: Config | None,
    progress: Progress | None = None,
) -> ScoredPhotos:
    """Scores the weights of a checkpoint.

    Args:
        path: The ``.ckpt`` file.
        choose: Gives the photos once the classes are known.
        settings: Batch size, workers, device and precision; None: the defaults.
        progress: Told how many images have been scored.
    """
    settings = settings or Config()
    accelerator = resolve_accelerator(settings.trainer.accelerator)
    device = torch.device(accelerator)
    model = load_model(path)
    labelled = choose(model.classes)
    records = [sample.image for sample in labelled.samples]
    max_pixels, wants_cam = settings.data.max_image_pixels, settings.report.grad_cam
    batches = evaluation_loader(
        records,
        np.asarray(labelled.labels, np.int64),
        model.preprocessing,
        batch_size=settings.data.batch_size,
        num_workers=settings.data.num_workers,
        max_pixels=max_pixels,
        as_float=False,
    )
    scores, predictions = score_model(
        model,
        batches,
        len(model.classes),
        device=device,
        precision=_precision(settings, accelerator),
        preprocessing=model.preprocessing,
        progress=count_up(progress, len(labelled.samples)),
    )
    return ScoredPhotos(
        classes=model.classes,
        labelled=labelled,
        scores=scores,
        predictions=predictions,
        preprocessing=model.preprocessing,
        epoch=int(read_checkpoint(path)["epoch"]),
        cam=cam_function(model, records, predictions, device, max_pixels=max_pixels) if wants_cam else None,
    )


def _precision(settings: Config, accelerator: str) -> Precision:
    """The precision of the run; a run's automatic half precision on a GPU is not carried over to a CPU."""
    precision = settings.trainer.precision
    chosen_for_gpu = settings.trainer.accelerator != "cpu" and accelerator == "cpu"
    return "32-true" if precision == "auto" or chosen_for_gpu else precision
