"""Scores a PyTorch model on a data loader: the one pass behind the test score and `evaluate`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import nn

from classifier_training.data.loading.normalize import normalize_images
from classifier_training.metrics.accumulator import ScoringPass
from classifier_training.metrics.scores import Predictions, Scores
from classifier_training.types import ClassificationBatch, Preprocessing

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
