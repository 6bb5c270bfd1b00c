"""The tables of one pass: ``predictions.csv`` with ``probabilities.npy``, and ``confusion_matrix.csv``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import RunError
from classifier_training.files.atomic import atomic_path
from classifier_training.files.tables import TableError, read_columns, write_table
from classifier_training.files.text import plain_text
from classifier_training.metrics.confusion import MAX_MATRIX_CLASSES, Confusion
from classifier_training.metrics.scores import Predictions
from classifier_training.run.records import DamagedFileError, read_table
from classifier_training.types import TestTimeAugmentation

_ROWS_AT_ONCE: Final = 4_096
_NOT_FINITE: Final = "is not a finite number, so the model had diverged; score another model"
MATRIX_CORNER: Final = r"true \ predicted"
CELL_COLUMNS: Final = ("true", "predicted", "images")


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


def write_predictions_csv(
    path: Path,
    predictions: Predictions,
    classes: Sequence[str],
    files: Sequence[str],
    tta: TestTimeAugmentation = "none",
) -> None:
    """Writes one row an image, atomically; where there was test-time augmentation, each names it in a column ``tta``.

    Numbers have seven digits, which is what a float32 holds; an infinite loss is ``inf``.

    Raises:
        ValueError: There are not as many files as predictions.
    """
    if len(files) != len(predictions):
        raise ValueError(f"{len(predictions)} predictions, but {len(files)} files")
    rows = _rows(predictions, classes, files)
    if tta == "none":
        write_table(path, COLUMNS, rows)
    else:
        write_table(path, [*COLUMNS, "tta"], ([*row, tta] for row in rows))


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
        RunError: The file is missing, was not written by this program, or is of a model that had diverged.
    """
    try:
        for number, (file, true, predicted, confidence, loss) in enumerate(read_columns(path, COLUMNS), start=2):
            try:
                row = PredictionRow(file, true, predicted, float(confidence), float(loss))
            except ValueError:
                raise RunError(f"{path}, row {number}: this is not a prediction; evaluate the model again") from None
            if not math.isfinite(row.confidence) or math.isnan(row.loss):
                raise RunError(f"{path}, row {number}: the confidence {confidence} or the loss {loss} {_NOT_FINITE}")
            yield row
    except OSError as error:
        raise RunError(f"cannot read the predictions from {path}: {(error.strerror or str(error)).lower()}") from None
    except TableError as error:
        raise RunError(f"{path} is not a table of predictions: it {error}") from None


def check_probabilities(path: Path, num_images: int) -> None:
    """Checks ``probabilities.npy``, where there is one.

    Raises:
        RunError: It is damaged, has another number of rows, or holds what is not a number.
    """
    if not path.is_file():
        return
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise RunError(f"{path} is cut or is not a NumPy array; evaluate the model again") from None
    if found.ndim != 2 or len(found) != num_images or found.dtype.kind != "f":
        shape = " x ".join(map(str, found.shape))
        raise RunError(f"{path} holds {shape} values of {found.dtype}, not {num_images} rows; evaluate the model again")
    for start in range(0, num_images, _ROWS_AT_ONCE):
        if not np.isfinite(found[start : start + _ROWS_AT_ONCE]).all():
            raise RunError(f"{path}: a probability {_NOT_FINITE}")


def _rows(predictions: Predictions, classes: Sequence[str], files: Sequence[str]) -> Iterator[list[str]]:
    """The rows as text; numbers become text some thousand at a time."""
    columns = (predictions.labels, predictions.predicted, predictions.confidence, predictions.losses)
    for start in range(0, len(predictions), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        for file, label, predicted, confidence, loss in zip(
            files[some], *(column[some].tolist() for column in columns), strict=True
        ):
            yield [file, classes[label], classes[predicted], f"{confidence:.7g}", f"{loss:.7g}"]


def write_confusion_csv(path: Path, cells: Confusion, classes: Sequence[str]) -> None:
    """Writes the counts atomically: a row a true class, a column a predicted one.

    With more than `MAX_MATRIX_CLASSES` classes a row is a cell that is not empty: true class, predicted class, images.
    """
    if len(classes) <= MAX_MATRIX_CLASSES:
        matrix = ([name, *counts.tolist()] for name, counts in zip(classes, cells.matrix(), strict=True))
        write_table(path, [MATRIX_CORNER, *classes], matrix, durable=False)
        return
    columns = (cells.labels.tolist(), cells.predicted.tolist(), cells.counts.tolist())
    listed = ([classes[label], classes[predicted], count] for label, predicted, count in zip(*columns, strict=True))
    write_table(path, CELL_COLUMNS, listed, durable=False)


def read_confusion_csv(path: Path, classes: Sequence[str]) -> Confusion:
    """Reads ``confusion_matrix.csv`` in either form, for the class names that the scores have.

    Raises:
        DamagedFileError: The file is not such a table, or has other classes.
        OSError: The file cannot be read.
    """
    rows = read_table(path)
    header = next(rows)
    try:
        cells = _listed_cells(rows, classes) if tuple(header) == CELL_COLUMNS else _matrix(header, rows, classes)
    except (ValueError, OverflowError) as error:
        if isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError("contains values that are not whole numbers") from None
    if cells.counts.min(initial=0) < 0:
        raise DamagedFileError("contains negative numbers")
    return cells


def _matrix(header: Sequence[str], rows: Iterator[list[str]], classes: Sequence[str]) -> Confusion:
    names, body = tuple(map(plain_text, header[1:])), list(rows)
    if names != tuple(classes) or tuple(plain_text(row[0]) for row in body) != names:
        raise DamagedFileError("has other classes than scores.json")
    return Confusion.from_matrix(np.array([list(map(int, row[1:])) for row in body], dtype=np.int64))


def _listed_cells(rows: Iterator[list[str]], classes: Sequence[str]) -> Confusion:
    index_of = {name: index for index, name in enumerate(classes)}
    try:
        cells = [(index_of[plain_text(true)], index_of[plain_text(guess)], int(count)) for true, guess, count in rows]
    except KeyError:
        raise DamagedFileError("has other classes than scores.json") from None
    labels, predicted, counts = np.array(cells, dtype=np.int64).reshape(-1, 3).T
    return Confusion(len(classes), labels, predicted, counts)
