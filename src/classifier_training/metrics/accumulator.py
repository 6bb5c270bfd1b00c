"""Adds up the logits of one pass over labelled images, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import DataError
from classifier_training.metrics.confusion import Confusion
from classifier_training.metrics.scores import (
    Predictions,
    Scores,
    count_top5,
    predictions_from_logits,
    scores_from_confusion,
)

MAX_PROBABILITIES: Final = 100_000_000
"""Most probabilities that are kept, in memory and in ``probabilities.npy``: 100,000 images of 1,000 classes, 400 MB."""


class ScoringPass:
    """Scores and predictions of the images so far.

    Args:
        num_classes: K.
        max_probabilities: Where there are more, N times K, the probabilities of all classes are not kept.
        temperature: What logits are divided by, which changes no predicted class; None: they are taken as they are.

    Attributes:
        num_images: Number of images so far.
    """

    def __init__(
        self, num_classes: int, max_probabilities: int = MAX_PROBABILITIES, temperature: float | None = None
    ) -> None:
        self._num_classes = num_classes
        self._temperature = temperature
        self.num_images = 0
        self._num_top5 = 0
        self._room = max_probabilities
        self._parts: list[Predictions] = []
        self._parts_before: list[Predictions] = []  # without a temperature there are none

    def update(self, logits: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> None:
        """Adds a batch.

        Args:
            logits: Float (B, K).
            labels: Integer (B,), class indices in [0, K).
        """
        self._num_top5 += count_top5(logits, labels)
        self.num_images += len(labels)
        part = predictions_from_logits(logits, labels)
        if self._temperature is not None:
            self._parts_before.append(_without_probabilities(part))
            # in float64, in which two different logits stay different
            part = predictions_from_logits(logits.astype(np.float64) / self._temperature, labels)
        if self._room >= logits.size:
            self._room -= logits.size
        elif self._room >= 0:  # those that were kept are dropped, too
            self._room = -1
            self._parts = [_without_probabilities(one) for one in self._parts]
        self._parts.append(part if self._room >= 0 else _without_probabilities(part))

    def result(self) -> tuple[Scores, Predictions]:
        """The scores, and the predictions in the order in which the images came.

        Raises:
            DataError: There was no image.
        """
        if not self.num_images:
            raise DataError("there is no image to score")
        joined = _joined(self._parts)
        cells = Confusion.from_pairs(joined["labels"], joined["predicted"], self._num_classes)
        scores = scores_from_confusion(cells, self._num_top5)
        probabilities = [part.probabilities for part in self._parts if part.probabilities is not None]
        are_kept = len(probabilities) == len(self._parts)
        return scores, Predictions(
            **joined,
            probabilities=np.concatenate(probabilities) if are_kept else None,
            before=Predictions(**_joined(self._parts_before)) if self._parts_before else None,
        )


def _joined(parts: Sequence[Predictions]) -> dict[str, Any]:
    columns = ("labels", "predicted", "confidence", "losses")
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}


def _without_probabilities(part: Predictions) -> Predictions:
    return Predictions(part.labels, part.predicted, part.confidence, part.losses)
