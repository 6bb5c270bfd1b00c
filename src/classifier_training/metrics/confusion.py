"""The confusion matrix by its cells that are not empty: as many numbers as there are images, and not K²."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAX_MATRIX_CLASSES: Final = 200
"""Up to this number of classes files hold the whole matrix; with more, its cells that are not empty."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """How often each of K classes was predicted as each class.

    Attributes:
        num_classes: K.
        labels: int64 (M,), the true class of each cell that is not empty; ascending, then the predicted ones are.
        predicted: int64 (M,), its predicted class.
        counts: int64 (M,), its number of images.
    """

    num_classes: int
    labels: Counts
    predicted: Counts
    counts: Counts

    @classmethod
    def from_pairs(
        cls,
        labels: NDArray[np.integer[Any]],
        predicted: NDArray[np.integer[Any]],
        num_classes: int,
        counts: NDArray[np.integer[Any]] | None = None,
    ) -> Confusion:
        """Counts true classes with predicted ones, integers (N,) in [0, K); each pair counts once, or as given."""
        keys = np.asarray(labels, np.int64) * num_classes + np.asarray(predicted, np.int64)
        if counts is None:
            cells, sums = np.unique(keys, return_counts=True)
        else:
            cells, inverse = np.unique(keys, return_inverse=True)
            sums = np.zeros(len(cells), np.int64)
            np.add.at(sums, inverse, np.asarray(counts, np.int64))
        is_filled = sums > 0
        cells = cells[is_filled]
        return cls(num_classes, cells // num_classes, cells % num_classes, sums[is_filled].astype(np.int64))

    @classmethod
    def from_matrix(cls, matrix: NDArray[np.integer[Any]] | Sequence[Sequence[int]]) -> Confusion:
        """The cells of a whole matrix, integer (K, K), whose rows are the true class."""
        whole = np.asarray(matrix, np.int64)
        rows, columns = np.nonzero(whole)
        return cls(len(whole), rows, columns, whole[rows, columns])

    def matrix(self) -> Counts:
        """The whole matrix, int64 (K, K): with many classes these are very many numbers."""
        return self.part(np.arange(self.num_classes))

    def part(self, classes: Sequence[int] | NDArray[np.integer[Any]]) -> Counts:
        """The matrix of n different classes alone, int64 (n, n), in their order."""
        positions = np.full(self.num_classes, -1, np.int64)
        positions[np.asarray(classes, np.int64)] = np.arange(len(classes))
        rows, columns = positions[self.labels], positions[self.predicted]
        is_inside = (rows >= 0) & (columns >= 0)
        part = np.zeros((len(classes), len(classes)), np.int64)
        part[rows[is_inside], columns[is_inside]] = self.counts[is_inside]
        return part

    def errors(self) -> Confusion:
        """The cells beside the diagonal."""
        wrong = self.labels != self.predicted
        return Confusion(self.num_classes, self.labels[wrong], self.predicted[wrong], self.counts[wrong])

    @property
    def num_images(self) -> int:
        """Number of images."""
        return int(self.counts.sum())

    @property
    def hits(self) -> Counts:
        """Correct predictions of each class, int64 (K,)."""
        correct = self.labels == self.predicted
        return self._sums(self.labels[correct], self.counts[correct])

    @property
    def support(self) -> Counts:
        """Images of each class, int64 (K,)."""
        return self._sums(self.labels, self.counts)

    @property
    def num_predicted(self) -> Counts:
        """How often each class was predicted, int64 (K,)."""
        return self._sums(self.predicted, self.counts)

    def _sums(self, classes: Counts, counts: Counts) -> Counts:
        sums = np.zeros(self.num_classes, np.int64)
        np.add.at(sums, classes, counts)
        return sums


def as_confusion(confusion: Confusion | NDArray[np.integer[Any]]) -> Confusion:
    """A confusion matrix in either form, by its cells."""
    return confusion if isinstance(confusion, Confusion) else Confusion.from_matrix(confusion)
