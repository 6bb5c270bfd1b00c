"""Counts of a pass, by the plainest means: the reference of what counts without a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier_training.metrics.scores import count_top5


def confusion_and_top5(
    logits: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.int64], int]:
    """The whole confusion matrix, int64 (K, K), and the top-5 hits, of logits (N, K) and labels (N,)."""
    num_top5 = count_top5(logits, labels)
    predicted = np.where(np.isnan(logits), -np.inf, logits).argmax(axis=1)
    confusion = np.zeros((logits.shape[1], logits.shape[1]), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    return confusion, num_top5
