"""Labels, splits, groups and weights of a Parquet file's rows, with class names in place of indices."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifier_training.data.sources.cells import cell_text, fault, label_cell, split_cell, weight_cell
from classifier_training.data.sources.parquet_columns import ImageColumns
from classifier_training.errors import DataError, first_line
from classifier_training.types import Split


@dataclass(frozen=True, slots=True)
class RowCells:
    """The N rows of a file without their images.

    Attributes:
        labels: Class names.
        splits: Splits; None where a row has none.
        groups: What must stay in one split together; None: the file has no groups.
        weights: Sampling weights; None: the file has no weights.
    """

    labels: list[str]
    splits: list[Split | None]
    groups: list[str | None] | None
    weights: list[float | None] | None


def read_cells(
    path: Path, columns: ImageColumns, split: Split | None, shown: str, classes: Collection[str] | None = None
) -> RowCells:
    """Reads everything but the images.

    Args:
        path: The file.
        columns: Its columns.
        split: The split of all rows; None: that of a column of the file, if it has one.
        shown: What a message calls the file.
        classes: The class names that there may be; None: any.

    Raises:
        DataError: A row has no label, an index without a name, a label that may not be, or no split.
    """
    column = _Reader(path, columns, shown)
    labels = [
        label_cell(text, (shown, row), columns.label, classes)
        for row, text in enumerate(column(columns.label), start=1)
    ]
    splits: list[Split | None] = [split] * len(labels)
    if split is None and columns.split is not None:
        found = enumerate(column(columns.split), start=1)
        splits = [split_cell(text, (shown, row), columns.split) for row, text in found]
    groups = None if columns.group is None else [text or None for text in column(columns.group)]
    weights = None
    if columns.weight is not None:
        found = enumerate(column(columns.weight), start=1)
        weights = [weight_cell(text, (shown, row), columns.weight) for row, text in found]
    return RowCells(labels, splits, groups, weights)


class _Reader:
    """Reads one column as text."""

    def __init__(self, path: Path, columns: ImageColumns, shown: str) -> None:
        self._path = path
        self._columns = columns
        self._shown = shown

    def __call__(self, name: str) -> list[str | None]:
        from pyarrow import ArrowException, parquet

        try:
            with parquet.ParquetFile(self._path) as file:
                values = file.read(columns=[name]).column(0).to_pylist()
        except (ArrowException, OSError) as error:
            raise DataError(f"{self._shown} is not a readable Parquet file: {first_line(error)}") from None
        class_names = self._columns.class_names.get(name)
        if class_names is None:
            return [cell_text(value, (self._shown, row), name) for row, value in enumerate(values, start=1)]
        return [self._named(value, class_names, row, name) for row, value in enumerate(values, start=1)]

    def _named(self, value: Any, class_names: list[str], row: int, column: str) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool):
            if not 0 <= value < len(class_names):
                raise fault(
                    (self._shown, row),
                    f"{value} in the column {column!r} is not a label; allowed are 0 to {len(class_names) - 1}"
                    + (" (the hub marks images without a known label with -1)" if value == -1 else ""),
                )
            return class_names[value]
        return cell_text(value, (self._shown, row), column)
