"""Which columns of a Parquet file hold images and labels, as the Hugging Face hub marks them, and their cells."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier_training.data.sources.cells import cell_text, fault, label_cell, split_cell, weight_cell
from classifier_training.data.sources.table_rows import Columns
from classifier_training.errors import DataError, first_line
from classifier_training.types import Split

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ImageColumns:
    """The columns of one file.

    Attributes:
        image: The images.
        label: Their labels.
        split: Their splits; None: no such column.
        group: What must stay in one split together; None: no such column.
        weight: Sampling weights; None: no such column.
        class_names: The names behind the indices of each column that holds such.
        num_rows: Number of rows.
    """

    image: str
    label: str
    split: str | None
    group: str | None
    weight: str | None
    class_names: dict[str, list[str]]
    num_rows: int


def image_columns(path: Path, columns: Columns, shown: str) -> ImageColumns | None:
    """The columns of a Parquet file; None if it holds no images.

    A column that the settings do not name is found by its type: the only one of images, the only one of class labels.

    Args:
        path: The file.
        columns: The names that the settings give.
        shown: What a message calls the file.

    Raises:
        DataError: The file cannot be read, lacks a column, or it is not clear which one is meant.
    """
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as file:
            schema, num_rows = file.schema_arrow, file.metadata.num_rows
    except (ArrowException, OSError) as error:
        raise DataError(f"{shown} is not a readable Parquet file: {first_line(error)}") from None
    image = _image_column(schema, columns, shown)
    if image is None:
        return None
    class_names = _class_names(schema)
    label = _label_column(schema, columns, list(class_names), shown)
    for name, setting in ((columns.group, "data.group_column"), (columns.weight, "data.weight_column")):
        if name is not None and name not in schema.names:
            raise _missing(schema, name, setting, shown)
    split = columns.split if columns.split in schema.names else None
    return ImageColumns(image, label, split, columns.group, columns.weight, class_names, num_rows)


def _image_column(schema: pa.Schema, columns: Columns, shown: str) -> str | None:
    images: list[str] = [field.name for field in schema if _holds_images(field.type)]
    if columns.image in schema.names:
        return columns.image if columns.image in images else None
    if not images:
        return None
    if columns.image != Columns().image:
        raise _missing(schema, columns.image, "data.image_column", shown)
    if len(images) > 1:
        raise DataError(f"{shown} has several columns of images, {_listed(images)}; choose with data.image_column")
    return images[0]


def _label_column(schema: pa.Schema, columns: Columns, of_classes: list[str], shown: str) -> str:
    if columns.label in schema.names:
        return columns.label
    if columns.label == Columns().label and len(of_classes) == 1:
        return of_classes[0]
    raise _missing(schema, columns.label, "data.label_column", shown)


def _holds_images(kind: pa.DataType) -> bool:
    """Whether a column is of the type of the hub's images: ``{bytes, path}``."""
    import pyarrow.types as types

    if not types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    inner = kind.field("bytes").type
    return bool(types.is_binary(inner) or types.is_large_binary(inner))


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Class names by column, from the hub's metadata; what cannot be understood in it is left out."""
    try:
        about: Any = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = about["info"]["features"]
        marked = {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {
        column: names
        for column, names in marked.items()
        if column in schema.names and isinstance(names, list) and all(isinstance(name, str) for name in names)
    }


def _missing(schema: pa.Schema, name: str, setting: str, shown: str) -> DataError:
    return DataError(
        f"{shown} has no column {name!r}; its columns are {_listed(schema.names)}; name the correct one with {setting}"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


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
