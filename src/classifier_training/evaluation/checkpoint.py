"""Scores a checkpoint on labelled images: the one pass behind the end of a training and `evaluate`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from classifier_training.config.schema import Config
from classifier_training.data.loading.dataset import EvaluationDataset
from classifier_training.data.loading.failures import explain_loader_failures
from classifier_training.data.loading.loaders import evaluation_loader
from classifier_training.data.loading.normalize import normalize_images
from classifier_training.evaluation.decision import effect_of
from classifier_training.evaluation.photos import Chooser, with_limit
from classifier_training.evaluation.unknown import watched_scores
from classifier_training.halving import Halving
from classifier_training.metrics.accumulator import ScoringPass
from classifier_training.metrics.intervals import score_intervals
from classifier_training.metrics.scores import Predictions, Scores, check_finite
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.checkpoint import load_model, read_checkpoint
from classifier_training.models.device import resolve_accelerator
from classifier_training.models.grad_cam import cam_function
from classifier_training.models.precision import Precision, arithmetic
from classifier_training.results.final_choice import weights_name
from classifier_training.results.scored_pass import LabelledImages, ScoredPass
from classifier_training.results.temperature_effect import temperature_effect
from classifier_training.run.freed_memory import keep_freed_memory
from classifier_training.types import (
    NUM_VIEWS,
    ClassificationBatch,
    ImageRecord,
    Preprocessing,
    Progress,
    TestTimeAugmentation,
)

Passes = Iterable[tuple[Tensor, Tensor]]
"""Of each batch the logits, float32 (B, K), and the labels, int64 (B,)."""


def score_checkpoint(
    path: Path,
    choose: Chooser,
    config: Config,
    *,
    device: torch.device | None = None,
    max_pixels: int | None = None,
    tta: TestTimeAugmentation = "none",
    progress: Progress | None = None,
    held: Passes | None = None,
) -> ScoredPass:
    """Scores the weights of a checkpoint on the images that ``choose`` gives once the classes are known.

    In exact float32, as the deployed file answers. The device is as configured where it is None, and images of more
    than ``max_pixels``, or than the model was trained with, are refused. ``progress`` may raise to stop. ``held`` are
    the logits of these images in float32, where they are known, and then no model runs.

    Raises:
        CheckpointError: It cannot be used, or its logits are not finite numbers.
        DataError: There is no image to score.
    """
    device = device or torch.device(resolve_accelerator(config.trainer.accelerator))
    model = load_model(path)
    preprocessing = with_limit(model.preprocessing, config, max_pixels)
    images = choose(model.classes, preprocessing.decoding)
    with watched_scores(model) as watched:
        if held is None:
            result = _score_images(model, images, path, config, preprocessing, device, tta, progress)
        else:
            result = score_logits(held, len(model.classes), model.temperature, (str(path), images.files))
    scored = _pass_of(path, model, images, result, config, preprocessing, device, tta)
    return replace(scored, unknown=watched.effect(len(result[1])))


def _pass_of(
    path: Path,
    model: BaseClassificationModel,
    images: LabelledImages,
    result: tuple[Scores, Predictions],
    config: Config,
    preprocessing: Preprocessing,
    device: torch.device,
    tta: TestTimeAugmentation,
) -> ScoredPass:
    scores, predictions = result
    cam = cam_function(model, images.records or (), predictions, device, decoding=preprocessing.decoding)
    checkpoint = read_checkpoint(path)
    return ScoredPass(
        images=images,
        model=str(path),
        scores=scores,
        predictions=predictions,
        intervals=score_intervals(scores),
        preprocessing=preprocessing,
        epoch=int(checkpoint["epoch"]),
        cam=cam if config.report.grad_cam else None,
        num_examples=config.report.num_pictures,
        precision="float32",
        tta=tta,
        weights=weights_name(checkpoint),
        temperature=temperature_effect(predictions, model.temperature),
        decision=effect_of(predictions, model.decision),
    )


def _score_images(
    model: BaseClassificationModel,
    images: LabelledImages,
    path: Path,
    config: Config,
    preprocessing: Preprocessing,
    device: torch.device,
    tta: TestTimeAugmentation,
    progress: Progress | None,
) -> tuple[Scores, Predictions]:
    with explain_loader_failures():
        return score_model(
            model if tta == "none" else _MeanOverViews(model, NUM_VIEWS[tta], model.temperature),
            scoring_loader(images.records or (), images.labels, preprocessing, config, tta),
            len(model.classes),
            device=device,
            preprocessing=preprocessing,
            named=(str(path), images.files),
            progress=None if progress is None else lambda done: progress(done, len(images.files)),
        )


def scoring_loader(
    records: Sequence[ImageRecord],
    labels: NDArray[np.int64],
    preprocessing: Preprocessing,
    config: Config,
    tta: TestTimeAugmentation = "none",
) -> DataLoader[ClassificationBatch]:
    """Batches of labelled images as uint8, of the size and by the processes that the data settings give."""
    dataset = EvaluationDataset(records, labels, preprocessing, tta=tta)
    return evaluation_loader(dataset, config.data.images_per_batch, num_workers=config.data.num_workers, as_float=False)


class _MeanOverViews(nn.Module):
    """Logits of the mean probabilities over the views of an image, as `imaging.views.log_mean_probabilities`.

    Args:
        model: Images float32 (B, 3, S, S) to logits (B, K).
        num_views: V; what it gets are all first views of a batch, then all second ones, and so on: (V B, 3, S, S).
        divisor: The temperature, by which the logits of every view are divided; None: they are not.
    """

    def __init__(self, model: nn.Module, num_views: int, divisor: float | None = None) -> None:
        super().__init__()
        self.model = model
        self.num_views = num_views
        self.divisor = divisor or 1.0

    def forward(self, images: Tensor) -> Tensor:
        """Logits float32 (B, K); the model runs once a view."""
        views = torch.stack([self.model(view).float() / self.divisor for view in images.chunk(self.num_views)])
        return views.log_softmax(2).logsumexp(0) - math.log(self.num_views)


@torch.inference_mode()
def score_model(
    model: nn.Module,
    batches: Iterable[ClassificationBatch],
    num_classes: int,
    *,
    device: torch.device,
    precision: Precision = "float32",
    preprocessing: Preprocessing | None = None,
    progress: Callable[[int], None] | None = None,
    named: tuple[str, Sequence[str]] | None = None,
) -> tuple[Scores, Predictions]:
    """Computes the scores of one pass.

    Args:
        model: Images float32 (B, 3, S, S) to logits (B, K), in evaluation mode; it is moved to ``device``.
        batches: The labelled images.
        num_classes: K.
        device: Where to compute.
        precision: Arithmetic of the forward pass.
        preprocessing: Normalises images that come as uint8, on the device; None: they come normalised.
        progress: Called after each batch with the number of images so far; may raise to stop.
        named: The names of the model and of the images, for messages.

    Returns:
        The scores and the predictions, with the temperature of the model if it has one; their probabilities are kept
        as far as `ScoringPass` has room.

    Raises:
        CheckpointError: Logits are not finite numbers.
        DataError: There is no image to score.
    """
    passes = model_logits(model, batches, device, precision, preprocessing)
    temperature = model.temperature if isinstance(model, BaseClassificationModel) else None
    return score_logits(passes, num_classes, temperature, named, progress)


def score_logits(
    passes: Passes,
    num_classes: int,
    temperature: float | None = None,
    named: tuple[str, Sequence[str]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Scores, Predictions]:
    """Computes the scores of logits that come batch by batch; arguments and errors as of `score_model`."""
    scoring = ScoringPass(num_classes, temperature=temperature)
    name, files = named or ("the model", ())
    for on_device, labels in passes:
        logits, first = on_device.cpu().numpy(), scoring.num_images
        check_finite(logits, name, files[first:] or [f"image {first + row + 1}" for row in range(len(logits))])
        scoring.update(logits, labels.numpy())
        if progress is not None:
            progress(scoring.num_images)
    return scoring.result()


def model_logits(
    model: nn.Module,
    batches: Iterable[ClassificationBatch],
    device: torch.device,
    precision: Precision,
    preprocessing: Preprocessing | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The logits of each batch, float32 (B, K) on the device, and its labels (B,); arguments as of `score_model`."""
    model.to(device)
    if device.type == "cpu":
        keep_freed_memory()
    num_views = model.num_views if isinstance(model, _MeanOverViews) else 1
    halving = Halving("scoring")

    def logits_of(views: Tensor, part: slice) -> Tensor:
        images = views[:, part].flatten(0, 1).to(device, non_blocking=True)
        if preprocessing is not None and images.dtype == torch.uint8:
            images = normalize_images(images, preprocessing)
        with arithmetic(device, precision):
            return cast("Tensor", model(images)).float()

    for batch in batches:
        images = batch["images"]
        views = images.reshape(num_views, len(images) // num_views, *images.shape[1:])
        parts = halving(functools.partial(logits_of, views), views.shape[1])
        yield parts[0] if len(parts) == 1 else torch.cat(parts), batch["labels"]
