"""Fits the thresholds of a model's decision to what is known of its validation images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from classifier_training.config.schema import DecisionConfig
from classifier_training.inference.decision import Decision
from classifier_training.metrics.conformal import coverage_interval, fewest_images, lac_threshold
from classifier_training.metrics.scores import Predictions
from classifier_training.metrics.selective import MIN_ANSWERED, threshold_for_coverage, threshold_for_precision

VALIDATED: Final = "validation_images"
"""Key of a checkpoint that keeps what a `Decision` is fitted to."""


@dataclass(frozen=True, slots=True, eq=False)
class ValidatedImages:
    """What a finished training keeps of its N validation images, so that thresholds can be fitted later, too.

    Attributes:
        confidence: float32 (N,), probability of the predicted class, with the temperature.
        is_correct: bool (N,).
        true_probability: float32 (N,), probability of the true class.
        predicted: int64 (N,), index of the predicted class; None in checkpoints of earlier versions.
    """

    confidence: NDArray[np.float32]
    is_correct: NDArray[np.bool_]
    true_probability: NDArray[np.float32]
    predicted: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.confidence)

    @classmethod
    def of(cls, predictions: Predictions) -> ValidatedImages:
        """What is kept of predictions."""
        if predictions.probabilities is None:
            true_probability = np.exp(-predictions.losses.astype(np.float64)).astype(np.float32)
        else:
            true_probability = predictions.probabilities[np.arange(len(predictions)), predictions.labels]
        return cls(predictions.confidence, predictions.is_correct, true_probability, predictions.predicted)

    @classmethod
    def joined(cls, parts: Sequence[ValidatedImages]) -> ValidatedImages:
        """The images of several models, at least one; classes are known where all know them."""
        predicted = [part.predicted for part in parts if part.predicted is not None]
        return cls(
            np.concatenate([part.confidence for part in parts]),
            np.concatenate([part.is_correct for part in parts]),
            np.concatenate([part.true_probability for part in parts]),
            np.concatenate(predicted) if len(predicted) == len(parts) else None,
        )

    def to_predictions(self) -> Predictions:
        """Predictions that have the same figures; of their classes only whether these are correct is known."""
        with np.errstate(divide="ignore"):
            losses = -np.log(self.true_probability)
        return Predictions(
            labels=np.zeros(len(self), np.int64),
            predicted=1 - self.is_correct.astype(np.int64),
            confidence=self.confidence,
            losses=losses,
        )

    def to_tensors(self) -> dict[str, torch.Tensor]:
        """The values of a checkpoint."""
        columns = {name: getattr(self, name) for name in self.__slots__}
        return {
            name: torch.from_numpy(np.ascontiguousarray(column))
            for name, column in columns.items()
            if column is not None
        }

    @classmethod
    def from_tensors(cls, values: Mapping[str, Any]) -> ValidatedImages:
        """Reads what `to_tensors` wrote.

        Raises:
            ValueError: It is something else.
        """
        dtypes = {"confidence": torch.float32, "is_correct": torch.bool, "true_probability": torch.float32}
        if "predicted" in values:
            dtypes["predicted"] = torch.int64
        tensors: dict[str, Any] = {name: values.get(name) for name in dtypes}
        for name, tensor in tensors.items():
            if not isinstance(tensor, torch.Tensor) or tensor.dtype != dtypes[name] or tensor.ndim != 1:
                raise ValueError(f"{VALIDATED}.{name} is not {dtypes[name]} (N,)")
        if len({len(tensor) for tensor in tensors.values()}) != 1:
            raise ValueError(f"{VALIDATED} has columns of different lengths")
        return cls(**{name: tensor.numpy() for name, tensor in tensors.items()})


class FittedDecision(NamedTuple):
    """Thresholds, and why others that were asked for are not among them.

    Attributes:
        decision: None: there is no threshold at all.
        reasons: A sentence each.
    """

    decision: Decision | None
    reasons: tuple[str, ...] = ()


def too_few_to_decide(num_images: int) -> str | None:
    """Why so many validation images allow no threshold; None: they allow one."""
    if num_images >= MIN_ANSWERED:
        return None
    return f"{num_images} validation images are too few for a threshold, {MIN_ANSWERED} are needed"


def fit_decision(images: ValidatedImages, targets: DecisionConfig) -> FittedDecision:
    """Fits the thresholds that are asked for.

    Args:
        images: Of the model, with its temperature.
        targets: What is asked for.
    """
    few = too_few_to_decide(len(images))
    if few is not None:
        return FittedDecision(None, (few,) if targets.is_given else ())
    reasons = list[str]()
    threshold = _abstain_threshold(images, targets, reasons)
    wanted = targets.set_coverage
    lowest = None if wanted is None else lac_threshold(images.true_probability, wanted)
    if wanted is not None and lowest is None:
        reasons.append(
            f"prediction sets for a coverage of {wanted:g} need {fewest_images(wanted)} validation images, there are"
            f" {len(images)}; lower decision.set_coverage"
        )
    if threshold is None and lowest is None:
        return FittedDecision(None, tuple(reasons))
    has_threshold = threshold is not None
    return FittedDecision(
        Decision(
            num_images=len(images),
            abstain_threshold=threshold,
            target_precision=targets.target_precision if has_threshold else None,
            target_coverage=targets.target_coverage if has_threshold else None,
            set_threshold=lowest,
            set_coverage=None if lowest is None else wanted,
            set_interval=None if lowest is None or wanted is None else coverage_interval(len(images), wanted),
        ),
        tuple(reasons),
    )


def _abstain_threshold(images: ValidatedImages, targets: DecisionConfig, reasons: list[str]) -> float | None:
    """The threshold for a target; where that cannot be reached, a reason is added."""
    if targets.target_coverage is not None:
        return threshold_for_coverage(images.confidence, targets.target_coverage)
    if targets.target_precision is None:
        return None
    found, best = threshold_for_precision(images.confidence, images.is_correct, targets.target_precision)
    if found is None:
        reasons.append(
            f"the target precision {targets.target_precision:g} cannot be reached on the {len(images)} validation"
            f" images: the highest is {best.precision:.4f}, at a confidence from {best.threshold:.4g} on, where"
            f" {best.num_answered} are answered; lower the target, or improve the model"
        )
    return found
