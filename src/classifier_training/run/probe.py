"""The record of a linear probe, ``probe.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from classifier_training.run.records import FORMAT, Count, Format, Items, Limits, Number, Share

_Positive = Annotated[float, Limits(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class ProbeCurvePoint:
    """What cross-validation found for one strength.

    Attributes:
        strength: C of the logistic regression.
        log_loss: Mean over the images held out.
        top1: Share of them that was predicted correctly.
        standard_error: Of the log-loss.
    """

    strength: _Positive
    log_loss: Number
    top1: Share
    standard_error: Number


@dataclass(frozen=True, slots=True)
class ProbeScores:
    """Scores of a probe on a split.

    Attributes:
        log_loss: Mean over the images.
        top1: Share that was predicted correctly.
    """

    log_loss: Number
    top1: Share


@dataclass(frozen=True, slots=True)
class ProbeRecord:
    """What a linear probe has found.

    Attributes:
        strength: C that was chosen.
        train_log_loss: Mean over the training images.
        num_images: Training images.
        num_views: Views of each of them.
        num_features: Features of an image.
        num_held_out: Rows, images times views, that cross-validation has held out; 0: nothing could be, C is fixed.
        curve: What it found for each strength.
        val: Scores on the validation split; None: it was not scored here.
        seconds: How long it took, features included.
    """

    strength: _Positive
    train_log_loss: Number
    num_images: Count
    num_views: Count
    num_features: Count
    num_held_out: Count
    curve: Items[ProbeCurvePoint]
    val: ProbeScores | None
    seconds: Number
    format: Format = FORMAT
