"""Compares what the training has recorded of its validation images with what the same weights answer now."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import CheckpointError, RunError
from classifier_training.exporters.forms import ProofImages
from classifier_training.files.text import plain_text
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import softmax
from classifier_training.models.checkpoint import read_checkpoint
from classifier_training.results.final_choice import weights_name
from classifier_training.results.folder import read_scores
from classifier_training.results.tables import PredictionRow, read_predictions_csv
from classifier_training.run.folder import RunFolder

_EXACT: Final = ("float32", "32-true")
_MOST_BYTES: Final = 100_000_000
"""A table of more bytes, about a million images, is not read."""


def compare_recorded(
    run: RunFolder, images: ProofImages, logits: NDArray[np.float32], card: DeploymentCard, epoch: int
) -> dict[str, Any]:
    """The recorded predictions came through everything that a training has: its loaders, caches and packed photos.

    Args:
        run: The run.
        images: Some of its validation images, with their files.
        logits: float32 (n, K), of the weights now.
        card: Their classes and temperature.
        epoch: After which epoch they were saved, from 0.

    Returns:
        ``num_images`` that were found, ``top1_agreement``, ``max_abs_confidence_difference``, and as ``first`` a
        sentence about the first image that was predicted as another class. Nothing where the latest validation was of
        other weights, or not in float32.
    """
    positions = {plain_text(one.name): number for number, one in enumerate(images.originals)}
    rows = [row for row in _recorded_rows(run, card.classes, epoch) if plain_text(row.file) in positions]
    if not rows:
        return {}
    order = [positions[plain_text(row.file)] for row in rows]
    labels = [card.classes[index] for index in logits[order].argmax(axis=1).tolist()]
    recorded = np.array([row.confidence for row in rows])
    scales = {1.0, card.temperature or 1.0}  # it was fitted after the training
    differences = [np.abs(softmax(logits[order] / scale).max(axis=1) - recorded) for scale in scales]
    others = [number for number, row in enumerate(rows) if row.predicted != labels[number]]
    figures: dict[str, Any] = {
        "num_images": len(rows),
        "top1_agreement": 1 - len(others) / len(rows),
        "max_abs_confidence_difference": float(np.minimum.reduce(differences).max()),
    }
    if others:
        row = rows[others[0]]
        figures["first"] = f"{row.file} was predicted as {row.predicted!r} and is now as {labels[others[0]]!r}"
    return figures


def _recorded_rows(run: RunFolder, classes: tuple[str, ...], epoch: int) -> list[PredictionRow]:
    """The predictions of the latest validation, where it was of these weights in float32."""
    folder = run.scored("val")
    with contextlib.suppress(OSError, RunError, CheckpointError):  # of another version, or removed
        scores = read_scores(folder)
        is_of_these = scores.epoch == epoch and scores.weights is None and scores.classes == classes
        is_of_these = is_of_these and weights_name(read_checkpoint(run.best_checkpoint)) is None
        if is_of_these and scores.precision in _EXACT and folder.predictions.stat().st_size <= _MOST_BYTES:
            return list(read_predictions_csv(folder.predictions))
    return []
