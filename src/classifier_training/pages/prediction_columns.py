"""``predictions.csv`` without its probabilities, which make hundreds of megabytes of a large test split."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from classifier_training.pages.reading import DamagedFileError
from classifier_training.pages.scored_data import PredictionColumns
from classifier_training.plain_text import plain_text
from classifier_training.scored.predictions_csv import COLUMNS

_FIVE_CELLS = re.compile(r'(?:(?:"(?:[^"]|"")*"|[^,"\r\n]*)(?:,|\r?\n|$)){5}')
_LONGEST_ROW = 2**26


def read_predictions(path: Path, index_of: Mapping[str, int]) -> PredictionColumns:
    """Reads the first five columns.

    Args:
        path: The file.
        index_of: Class index by name.

    Raises:
        DamagedFileError: It is no such table.
    """
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = _first_cells(file)
        if next(rows, None) != list(COLUMNS):
            raise DamagedFileError(f"does not begin with the columns {','.join(COLUMNS)}")
        files, labels, predicted, confidence, losses = [], [], [], [], []
        try:
            for name, true, said, probability, loss in rows:
                files.append(plain_text(name))
                labels.append(index_of[plain_text(true)])
                predicted.append(index_of[plain_text(said)])
                confidence.append(float(probability))
                losses.append(float(loss))
        except KeyError:
            raise DamagedFileError(f"names a class in row {len(files)} that scores.json does not know") from None
        except ValueError as error:
            if isinstance(error, DamagedFileError):
                raise
            raise DamagedFileError(f"has something else than a number in row {len(files)}") from None
    return PredictionColumns(
        files=tuple(files),
        labels=np.array(labels, dtype=np.int64),
        predicted=np.array(predicted, dtype=np.int64),
        confidence=np.array(confidence, dtype=np.float64),
        losses=np.array(losses, dtype=np.float64),
    )


def _first_cells(file: IO[str]) -> Iterator[list[str]]:
    """The first five cells of each row; the others are not looked at."""
    for row in _whole_rows(file):
        if '"' not in row:  # nearly always, and much faster
            cells = row.rstrip("\r\n").split(",", 5)[:5]
        else:
            found = _FIVE_CELLS.match(row)
            cells = next(csv.reader([found.group().rstrip(",\r\n")], strict=True), []) if found else []
        if len(cells) != 5:
            raise DamagedFileError("has a row of less than five cells")
        yield cells


def _whole_rows(file: IO[str]) -> Iterator[str]:
    """Rows of a CSV file: lines, several of them where a name holds a line break."""
    row, num_quotes = "", 0
    for line in iter(lambda: file.readline(_LONGEST_ROW), ""):
        row += line
        num_quotes += line.count('"')
        if len(row) >= _LONGEST_ROW:
            raise DamagedFileError(f"has a row of more than {_LONGEST_ROW} characters")
        if num_quotes % 2 == 0:
            yield row
            row, num_quotes = "", 0
    if row:
        raise DamagedFileError("ends within a row")
