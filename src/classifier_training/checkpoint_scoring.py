"""Scores a checkpoint on labelled photos, as the run itself did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from classifier_training.config.schema import Config
from classifier_training.data.inspect import Progress, count_up
from classifier_training.data.labelled import Labelled
from classifier_training.data.loaders import evaluation_loader
from classifier_training.models.checkpoint import load_model
from classifier_training.plan import resolve_accelerator
from classifier_training.scores import Scores
from classifier_training.scoring import Precision, score_model


def score_checkpoint(
    path: Path, choose: Callable[[tuple[str, ...]], Labelled], settings: Config | None, progress: Progress | None = None
) -> tuple[tuple[str, ...], Labelled, Scores]:
    """Scores the weights of a checkpoint.

    Args:
        path: The ``.ckpt`` file.
        choose: Gives the photos once the classes are known.
        settings: Batch size, workers, device and precision; None: the defaults.
        progress: Told how many images have been scored.

    Returns:
        The classes, the photos and the scores.
    """
    settings = settings or Config()
    accelerator = resolve_accelerator(settings.trainer.accelerator)
    model = load_model(path)
    labelled = choose(model.classes)
    batches = evaluation_loader(
        [sample.image for sample in labelled.samples],
        np.asarray(labelled.labels, np.int64),
        model.preprocessing,
        batch_size=settings.data.batch_size,
        num_workers=settings.data.num_workers,
        max_pixels=settings.data.max_image_pixels,
        as_float=False,
    )
    scores = score_model(
        model,
        batches,
        len(model.classes),
        device=torch.device(accelerator),
        precision=_precision(settings, accelerator),
        preprocessing=model.preprocessing,
        progress=count_up(progress, len(labelled.samples)),
    )
    return model.classes, labelled, scores


def _precision(settings: Config, accelerator: str) -> Precision:
    """The precision of the run; a run's automatic half precision on a GPU is not carried over to a CPU."""
    precision = settings.trainer.precision
    chosen_for_gpu = settings.trainer.accelerator != "cpu" and accelerator == "cpu"
    return "32-true" if precision == "auto" or chosen_for_gpu else precision
