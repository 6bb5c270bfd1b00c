"""The tables of one pass: ``predictions.csv`` with ``probabilities.npy``, and ``confusion_matrix.csv``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import RunError
from classifier_training.files.atomic import atomic_path
from classifier_training.files.tables import TableError, read_columns, write_table
from classifier_training.metrics.scores import Predictions

_ROWS_AT_ONCE: Final = 4_096


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """One image.

    Attributes:
        file: Its path; the name of a member of a larger file follows ``::``.
        true: The name of its class.
        predicted: The name of the most probable class.
        confidence: The probability of that.
        loss: Minus the logarithm of the true class's probability; may be infinite.
    """

    file: str
    true: str
    predicted: str
    confidence: float
    loss: float


COLUMNS: Final = tuple(field.name for field in fields(PredictionRow))
"""The columns that the file begins with. In version 0.1 a column for the probability of each class follows."""


def write_predictions_csv(path: Path, predictions: Predictions, classes: Sequence[str], files: Sequence[str]) -> None:
    """Writes one row an image, atomically.

    Numbers have seven digits, which is what a float32 holds; an infinite loss is ``inf``.

    Raises:
        ValueError: There are not as many files as predictions.
    """
    if len(files) != len(predictions):
        raise ValueError(f"{len(predictions)} predictions, but {len(files)} files")
    write_table(path, COLUMNS, _rows(predictions, classes, files))


def write_probabilities(path: Path, probabilities: NDArray[np.float32] | None) -> None:
    """Writes the probability of each class, atomically; ``numpy.load`` reads it.

    Args:
        path: The file.
        probabilities: float32 (N, K), rows as in ``predictions.csv``; None: they were not kept, see `ScoringPass`, and
            the file of an earlier pass is removed.
    """
    if probabilities is None:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, probabilities.astype(np.float32, copy=False), allow_pickle=False)


def read_predictions_csv(path: Path) -> Iterator[PredictionRow]:
    """Reads ``predictions.csv`` row by row, also that of version 0.1.

    Raises:
        RunError: The file is missing or was not written by this program.
    """
    try:
        for number, (file, true, predicted, confidence, loss) in enumerate(read_columns(path, COLUMNS), start=2):
            try:
                yield PredictionRow(file, true, predicted, float(confidence), float(loss))
            except ValueError:
                raise RunError(f"{path}, row {number}: this is not a prediction; evaluate the model again") from None
    except OSError as error:
        raise RunError(f"cannot read the predictions from {path}: {(error.strerror or str(error)).lower()}") from None
    except TableError as error:
        raise RunError(f"{path} is not a table of predictions: it {error}") from None


def _rows(predictions: Predictions, classes: Sequence[str], files: Sequence[str]) -> Iterator[list[str]]:
    """The rows as text; numbers become text some thousand at a time."""
    columns = (predictions.labels, predictions.predicted, predictions.confidence, predictions.losses)
    for start in range(0, len(predictions), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        for file, label, predicted, confidence, loss in zip(
            files[some], *(column[some].tolist() for column in columns), strict=True
        ):
            yield [file, classes[label], classes[predicted], f"{confidence:.7g}", f"{loss:.7g}"]


def write_confusion_csv(path: Path, confusion: NDArray[np.integer[Any]], classes: Sequence[str]) -> None:
    """Writes the counts, integer (K, K), atomically: a row a true class, a column a predicted one."""
    rows = ([name, *counts.tolist()] for name, counts in zip(classes, confusion, strict=True))
    write_table(path, [r"true \ predicted", *classes], rows, durable=False)
