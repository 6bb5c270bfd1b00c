"""When an exported file is accepted: one that must answer like the model, and one that may only be as accurate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.exporters.forms import ExportSettings
from classifier_training.inference.classifier import softmax
from classifier_training.metrics.paired import compare_paired

_SAME_IN_BATCHES: Final = 0.95
"""Share of the labels of a file of few bits that is the same in every batch: a tie may be rounded either way."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of a file to N images, in batches of one size, beside those of the model.

    Attributes:
        batch_size: Images in a batch.
        positions: int64 (N,), which images these are.
        found: float32 (N, K), logits of the file.
        expected: float32 (N, K), logits that the trainer scores.
        labels: int64 (N,), true class indices, -1 where one is not known.
        temperature: The logits are divided by it for probabilities.
        names: Class names of the file and of the model, by index; None where one of them has none.
        probabilities: float (N, K), where the file gives them itself; None: they follow from its logits.
    """

    batch_size: int
    positions: NDArray[np.int64]
    found: NDArray[np.float32]
    expected: NDArray[np.float32]
    labels: NDArray[np.int64]
    temperature: float = 1.0
    names: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    probabilities: NDArray[np.floating[Any]] | None = None

    @property
    def has_same_label(self) -> NDArray[np.bool_]:
        """Bool (N,), whether the file gives the label of the model."""
        found, expected = self.found.argmax(axis=1), self.expected.argmax(axis=1)
        if self.names is None:
            return np.asarray(found == expected)
        of_file, of_model = (np.array(names, dtype=object) for names in self.names)
        return np.asarray(of_file[found] == of_model[expected], dtype=np.bool_)

    @property
    def logit_differences(self) -> NDArray[np.float64]:
        """float64 (N,), the largest difference of a logit of each image; NaN where one is not a finite number."""
        return np.asarray(np.abs(self.found.astype(np.float64) - self.expected).max(axis=1))

    def figures(self) -> dict[str, Any]:
        """What is recorded of the batch size, ready for JSON."""
        of_file = softmax(self.found / self.temperature) if self.probabilities is None else self.probabilities
        return {
            "batch_size": self.batch_size,
            "num_images": len(self.found),
            "top1_agreement": float(self.has_same_label.mean()),
            "max_abs_logit_difference": finite_or_none(self.logit_differences.max()),
            "max_abs_probability_difference": finite_or_none(
                np.abs(of_file - softmax(self.expected / self.temperature)).max()
            ),
        }

    def accuracy(self) -> dict[str, float]:
        """The top-1 accuracy of the file and of the model; nothing where a label is not known."""
        if not len(self.labels) or (self.labels < 0).any():
            return {}
        correct, correct_of_model = self.correct
        return {"top1": float(correct.mean()), "top1_of_model": float(correct_of_model.mean())}

    @property
    def correct(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Bool (N,) each, whether the file and the model predict the true class."""
        correct_of_model = self.expected.argmax(axis=1) == self.labels
        if self.names is None:
            return np.asarray(self.found.argmax(axis=1) == self.labels), np.asarray(correct_of_model)
        of_file, of_model = (np.array(names, dtype=object) for names in self.names)
        is_correct = of_file[self.found.argmax(axis=1)] == of_model[self.labels]
        return np.asarray(is_correct, dtype=np.bool_), np.asarray(correct_of_model)


@dataclass(frozen=True, slots=True)
class Rule:
    """When a file is accepted.

    Attributes:
        judge: Gets the answers in batches of one and of other sizes. Gives further figures, and why the file is
            refused; None: it is not.
        is_exact: Whether each image must get the model's answer.
        claim: What a refused file does not do.
    """

    judge: Callable[[Sequence[Answers], ExportSettings], tuple[dict[str, Any], str | None]]
    is_exact: bool
    claim: str


def _answers_alike(compared: Sequence[Answers], settings: ExportSettings) -> tuple[dict[str, Any], str | None]:
    for answers in compared:
        differences, is_same = answers.logit_differences, answers.has_same_label
        if is_same.all() and (differences <= settings.tolerance).all():  # NaN is not
            continue
        found = f"{differences.max():.3g}" if np.isfinite(differences).all() else "not a finite number"
        return {}, (
            f"top-1 agreement {is_same.mean():.2%} (100% is needed), largest difference of a logit {found}"
            f" ({settings.tolerance:g} is allowed), on {len(is_same)} images in batches of {answers.batch_size}"
        )
    return {}, None


def _as_accurate(compared: Sequence[Answers], settings: ExportSettings) -> tuple[dict[str, Any], str | None]:
    alone = compared[0]
    if not alone.accuracy():
        return {}, "its accuracy is needed, and the labels of the images are not known"
    correct, correct_of_model = alone.correct
    paired = compare_paired(correct_of_model, correct)
    points_lost = 100 * (paired.num_only_first - paired.num_only_second) / paired.num_images
    figures = {
        "points_lost": points_lost,
        "p_value": paired.p_value,
        "num_only_model": paired.num_only_first,
        "num_only_file": paired.num_only_second,
    }
    counts = f"{paired.num_only_first} of {paired.num_images} images only the model predicts correctly,"
    counts += f" {paired.num_only_second} only the file"
    if points_lost > settings.max_points_lost:
        allowed = f"{settings.max_points_lost:g} are allowed (export.max_points_lost)"
        return figures, f"its accuracy is {points_lost:.2f} points lower, {allowed}: {counts}"
    if points_lost > 0 and paired.p_value < settings.significance:
        allowed = f"p = {paired.p_value:.2g}, less than {settings.significance:g} (export.significance)"
        return figures, f"it is significantly less accurate, {allowed}: {counts}"
    return figures, _other_in_batches(compared)


def _other_in_batches(compared: Sequence[Answers]) -> str | None:
    """What answers in batches that are not those of the same images one by one, beyond a rounding; None: none."""
    alone = compared[0].found
    for answers in compared:
        size = answers.batch_size
        if not np.isfinite(answers.found).all():
            return f"a logit of the file is not a finite number in batches of {size}"
        is_same = answers.found.argmax(axis=1) == alone[answers.positions].argmax(axis=1)
        if is_same.mean() < _SAME_IN_BATCHES:
            return f"in batches of {size}, {is_same.mean():.2%} of the labels are those of the same images one by one"
    return None


ANSWERS_ALIKE: Final = Rule(_answers_alike, is_exact=True, claim="does not answer like the model")
"""Every label agrees, and every logit within the tolerance: for files that compute in float32."""
AS_ACCURATE: Final = Rule(_as_accurate, is_exact=False, claim="is not as accurate as the model")
"""Not significantly less accurate by McNemar's exact test, and no more points lost than allowed.

For files of fewer bits, whose logits are others. The images must not be those that calibrated them.
"""


def finite_or_none(value: float | np.floating[Any]) -> float | None:
    """A number for JSON, which has no NaN."""
    return float(value) if math.isfinite(value) else None
