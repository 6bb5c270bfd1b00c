"""``predictions.csv`` as columns, for a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from classifier_training.files.tables import TableError, read_columns
from classifier_training.files.text import plain_text
from classifier_training.pages.read.scored_data import PredictionColumns
from classifier_training.results.predictions_csv import COLUMNS
from classifier_training.run.records import DamagedFileError


def read_predictions(path: Path, index_of: Mapping[str, int]) -> PredictionColumns:
    """Reads the first five columns.

    Args:
        path: The file.
        index_of: Class index by name.

    Raises:
        DamagedFileError: The file is not such a table.
    """
    files, labels, predicted, confidence, losses = [], [], [], [], []
    try:
        for name, true, guess, probability, loss in read_columns(path, COLUMNS):
            files.append(plain_text(name))
            labels.append(index_of[plain_text(true)])
            predicted.append(index_of[plain_text(guess)])
            confidence.append(float(probability))
            losses.append(float(loss))
    except TableError as error:
        raise DamagedFileError(str(error)) from None
    except KeyError:
        raise DamagedFileError(f"names a class in row {len(files)} that scores.json does not know") from None
    except ValueError:
        raise DamagedFileError(f"has a value that is not a number in row {len(files)}") from None
    return PredictionColumns(
        files=tuple(files),
        labels=np.array(labels, dtype=np.int64),
        predicted=np.array(predicted, dtype=np.int64),
        confidence=np.array(confidence, dtype=np.float64),
        losses=np.array(losses, dtype=np.float64),
    )
