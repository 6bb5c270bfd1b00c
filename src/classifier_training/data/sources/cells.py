"""What a cell of a table may hold, and the errors for cells that hold something else."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection
from typing import Any

from classifier_training.data.sources.listing import SPLIT_OF_NAME
from classifier_training.errors import DataError
from classifier_training.types import Split

Where = tuple[object, int]
"""The table, as messages show it, and the number of the row."""


def fault(where: Where, what: str) -> DataError:
    """The error of one row."""
    table, number = where
    return DataError(f"{table}, row {number}: {what}")


def cell_text(value: Any, where: Where, column: str) -> str | None:
    """A cell as text; None stays None.

    Raises:
        DataError: It is a list, a mapping or bytes.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict | bytes):
        raise fault(where, f"the column {column!r} holds a value of type {type(value).__name__}, not text")
    return str(value)


def label_cell(label: str | None, where: Where, column: str, classes: Collection[str] | None) -> str:
    """The label of a row.

    Args:
        label: The cell.
        where: The row.
        column: Name of the column.
        classes: The class names that there may be; None: any.

    Raises:
        DataError: The label is missing, or not one of the classes.
    """
    if label is None:
        raise fault(where, f"the column {column!r} has no value")
    if classes is not None and label not in classes:
        near = difflib.get_close_matches(label, classes, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise fault(where, f"{label!r} in the column {column!r} is not one of the {len(classes)} classes{hint}")
    return label


def split_cell(value: str | None, where: Where, column: str) -> Split:
    """The split of a row; arguments as `label_cell`.

    Raises:
        DataError: It is not a split.
    """
    split = SPLIT_OF_NAME.get((value or "").strip().lower())
    if split is None:
        raise fault(where, f"{value!r} in the column {column!r} is not a split; allowed are {', '.join(SPLIT_OF_NAME)}")
    return split


def weight_cell(value: str | None, where: Where, column: str) -> float | None:
    """The sampling weight of a row, None where it has none; arguments as `label_cell`.

    Raises:
        DataError: It is negative, infinite or not a number.
    """
    if value is None or not value.strip():
        return None
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise fault(where, f"{value!r} in the column {column!r} is not a weight; allowed are 0 and positive numbers")
    return weight
