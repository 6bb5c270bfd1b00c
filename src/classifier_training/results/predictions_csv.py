"""``predictions.csv``: what a model said of every image of a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from classifier_training.errors import RunError
from classifier_training.files.tables import TableError, read_columns, write_table
from classifier_training.metrics.scores import Predictions

COLUMNS: Final = ("file", "true", "predicted", "confidence", "loss")
_ROWS_AT_ONCE: Final = 4_096


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """One image.

    Attributes:
        file: Where it is; a member of a file that holds many stands behind ``::``.
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


def write_predictions_csv(path: Path, predictions: Predictions, classes: Sequence[str], files: Sequence[str]) -> None:
    """Writes one row an image, atomically; a column for each class where the probabilities were kept.

    Numbers have seven digits, which is what a float32 holds; an infinite loss is ``inf``.

    Args:
        path: The file.
        predictions: Of N images.
        classes: K class names, in class order.
        files: N texts that say where the images are.

    Raises:
        ValueError: There are not as many files as predictions.
    """
    if len(files) != len(predictions):
        raise ValueError(f"{len(predictions)} predictions, but {len(files)} files")
    header = [*COLUMNS, *(f"probability_{name}" for name in classes if predictions.probabilities is not None)]
    write_table(path, header, _rows(predictions, classes, files))


def read_predictions_csv(path: Path) -> Iterator[PredictionRow]:
    """Reads what `write_predictions_csv` wrote, row by row, without the probabilities.

    Raises:
        RunError: The file is missing or was not written by this program.
    """
    try:
        for number, row in enumerate(read_columns(path, COLUMNS), start=2):
            yield _row(path, number, row)
    except OSError as error:
        raise RunError(f"cannot read the predictions from {path}: {(error.strerror or str(error)).lower()}") from None
    except TableError as error:
        raise RunError(f"{path} is not a table of predictions: it {error}") from None


def _row(path: Path, number: int, cells: Sequence[str]) -> PredictionRow:
    try:
        file, true, predicted, confidence, loss = cells
        return PredictionRow(file, true, predicted, float(confidence), float(loss))
    except ValueError:
        raise RunError(f"{path}, row {number}: this is no prediction; evaluate the model again") from None


def _rows(predictions: Predictions, classes: Sequence[str], files: Sequence[str]) -> Iterator[list[str]]:
    """The rows as text; images are looked up and numbers become text some thousand at a time."""
    for start in range(0, len(predictions), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        columns = (predictions.labels, predictions.predicted, predictions.confidence, predictions.losses)
        probabilities = predictions.probabilities
        rest = [()] * _ROWS_AT_ONCE if probabilities is None else map(np.ndarray.tolist, probabilities[some])
        for file, label, predicted, confidence, loss, others in zip(
            files[some], *(column[some].tolist() for column in columns), rest, strict=False
        ):
            numbers = [f"{number:.7g}" for number in (confidence, loss, *others)]
            yield [file, classes[label], classes[predicted], *numbers]
