"""Which columns of a Parquet file hold images and labels, as the Hugging Face hub marks them, and their cells."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from classifier_training.data.sources.class_names import check_distinct
from classifier_training.data.sources.table_rows import (
    Columns,
    Where,
    cell_text,
    fault,
    label_cell,
    split_cell,
    weight_cell,
)
from classifier_training.errors import DataError, first_line
from classifier_training.files.text import NUM_ALLOWED, name_some
from classifier_training.types import Split

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ImageColumns:
    """The names of a file's columns, as in `Columns`; None: no such column.

    Attributes:
        near_split: What is called like the split column but for upper and lower case; None: nothing.
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
    near_split: str | None = None


def image_columns(path: Path, columns: Columns, shown: str) -> ImageColumns | None:
    """The columns of a Parquet file; None if it holds no images.

    A column that the settings do not name is found by its type: the only one of images, the only one of class labels.

    Raises:
        DataError: The file cannot be read, lacks a column, or it is not clear which one is meant.
    """
    with open_parquet(path, shown) as file:
        schema, num_rows = file.schema_arrow, file.metadata.num_rows
    image = _image_column(schema, columns, shown)
    if image is None:
        return None
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise DataError(f"{shown} has two columns of the name {twice[0]!r}; rename or remove one")
    class_names = _class_names(schema, shown)
    label = _label_column(schema, columns, list(class_names), shown)
    for name, setting in ((columns.group, "data.group_column"), (columns.weight, "data.weight_column")):
        if name is not None and name not in schema.names:
            raise _missing(schema, name, setting, shown)
    split = columns.split if columns.split in schema.names else None
    alike = [name for name in schema.names if name.strip().casefold() == columns.split.strip().casefold()]
    near = alike[0] if alike and split is None else None
    return ImageColumns(image, label, split, columns.group, columns.weight, class_names, num_rows, near)


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


def _class_names(schema: pa.Schema, shown: str) -> dict[str, list[str]]:
    """Class names by column, from the hub's metadata; what cannot be understood in it is left out.

    Raises:
        DataError: A name is given to two indices.
    """
    try:
        about: Any = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = about["info"]["features"]
        marked = {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    found = {
        column: names
        for column, names in marked.items()
        if column in schema.names and isinstance(names, list) and all(isinstance(name, str) for name in names)
    }
    for column, names in found.items():
        check_distinct(names, f"{shown}, the column {column!r},")
    return found


def _missing(schema: pa.Schema, name: str, setting: str, shown: str) -> DataError:
    return DataError(
        f"{shown} has no column {name!r}; its columns are {_listed(schema.names)}; name the correct one with {setting}"
    )


def _listed(names: list[str]) -> str:
    return name_some(map(repr, names), NUM_ALLOWED) or "none"


@dataclass(frozen=True, slots=True)
class RowCells:
    """The N rows of a file without their images; groups and weights are None where the file has no such column."""

    labels: list[str | None]
    splits: list[Split | None]
    groups: list[str | None] | None
    weights: list[float | None] | None


def read_cells(
    path: Path,
    columns: ImageColumns,
    split: Split | None,
    shown: str,
    classes: Collection[str] | None = None,
    on_missing_label: Literal["raise", "skip"] = "raise",
) -> RowCells:
    """Reads everything but the images of a file that messages call ``shown``.

    Without a ``split`` of all rows, that of a column of the file counts, if it has one; ``classes`` are the class
    names that there may be. A row without a label is refused, or is None in the labels.

    Raises:
        DataError: A row has no label, an index without a name, a label that may not be, or no split.
    """

    def column(name: str) -> list[tuple[Where, str | None]]:
        """Every row and its cell as text."""
        with open_parquet(path, shown) as file:
            values = file.read(columns=[name]).column(0).to_pylist()
        class_names = columns.class_names.get(name)
        may_skip = name == columns.label and on_missing_label == "skip"
        rows = enumerate(values, start=1)
        return [
            ((shown, row), None if may_skip and value == -1 else _named(value, (shown, row), name, class_names))
            for row, value in rows
        ]

    named = Columns(label=columns.label, on_missing_label=on_missing_label)
    labels = [label_cell(text, where, named, classes) for where, text in column(columns.label)]
    splits: list[Split | None] = [split] * len(labels)
    if split is None and columns.split is not None:
        splits = [split_cell(text, where, columns.split) for where, text in column(columns.split)]
    groups = None if columns.group is None else [text or None for _, text in column(columns.group)]
    weights = None
    if columns.weight is not None:
        weights = [weight_cell(text, where, columns.weight) for where, text in column(columns.weight)]
    return RowCells(labels, splits, groups, weights)


def _named(value: Any, where: Where, column: str, class_names: list[str] | None) -> str | None:
    """A cell as text, or the name that its index stands for."""
    if class_names is None or not isinstance(value, int) or isinstance(value, bool):
        return cell_text(value, where, column)
    if not 0 <= value < len(class_names):
        raise fault(
            where,
            f"{value} in the column {column!r} is not a label; allowed are 0 to {len(class_names) - 1}"
            + (" (the hub marks images without a known label with -1)" if value == -1 else ""),
        )
    return class_names[value]


@contextlib.contextmanager
def open_parquet(path: Path, shown: str, **options: Any) -> Iterator[Any]:
    """Opens a Parquet file that messages call ``shown``; options as of pyarrow's ``ParquetFile``.

    Raises:
        DataError: The block could not read it.
    """
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path, **options) as file:
            yield file
    except (ArrowException, OSError) as error:
        raise DataError(f"{shown} is not a readable Parquet file: {first_line(error)}") from None
