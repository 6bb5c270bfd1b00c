"""How many scored images count as unknown, and how that is said."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from classifier_training.metrics.intervals import CONFIDENCE_LEVEL, wilson_intervals
from classifier_training.results.unknown_file import UnknownEffect, UnknownRecord

TITLES = {
    "energy": "energy",
    "max_logit": "largest logit",
    "pca_residual": "residual of the principal components",
    "knn": "distance to the nearest training images",
}
"""What people call a score."""


def unknown_effect(scores: NDArray[np.float32], kind: str, threshold: float) -> UnknownEffect:
    """How many of N images, at least one, count as unknown: those whose score, of (N,), is above the threshold."""
    num_images, num_unknown = len(scores), int((scores > np.float32(threshold)).sum())
    low, high = wilson_intervals(np.array([num_unknown]), np.array([num_images]))[0].tolist()
    return UnknownEffect(
        kind=kind,
        threshold=threshold,
        num_images=num_images,
        num_unknown=num_unknown,
        share=num_unknown / num_images,
        interval=(low, high),
    )


def describe_unknown(effect: UnknownEffect) -> str:
    """How many images count as unknown, in one line."""
    low, high = effect.interval
    return (
        f"{effect.num_unknown} of {effect.num_images} images count as unknown by their {title_of(effect.kind)}:"
        f" {effect.share:.2%} ({low:.2%} to {high:.2%}, {CONFIDENCE_LEVEL:.0%} interval)"
    )


def describe_choice(record: UnknownRecord) -> str:
    """Which score it is and how well it does, in one line."""
    chosen = record.chosen
    if chosen is None:
        return f"unknown score: {title_of(record.kind)}; it was not chosen by leaving out classes: {record.reason}"
    others = ", ".join(f"{one.kind} {one.auroc:.3f}" for one in record.kinds if one.kind != record.kind)
    return (
        f"unknown score: {title_of(record.kind)}, AUROC {chosen.auroc:.3f} ({chosen.low:.3f} to {chosen.high:.3f}) on"
        f" {len(record.left_out)} classes that were left out in turn; {others}"
    )


def title_of(kind: str) -> str:
    """What people call a score."""
    return TITLES.get(kind, kind)
