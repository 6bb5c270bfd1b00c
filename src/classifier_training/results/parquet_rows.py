"""Predictions as a Parquet file; needs pyarrow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.files.atomic import atomic_path

_ROWS_OF_A_GROUP: Final = 4_096


def write_parquet(
    path: Path, rows: Iterator[Mapping[str, Any]], columns: Mapping[str, str], classes: Sequence[str] | None
) -> None:
    """Writes rows as a Parquet file, whole or not at all, with some thousand rows in memory.

    Args:
        path: The file.
        rows: Values by column; None for what is missing.
        columns: The type of each column: ``text``, ``number``, ``flag``, ``numbers`` or ``texts``.
        classes: Whose numbers a column of ``numbers`` holds, in order; they become the entry ``classes`` of the
            file's metadata.

    Raises:
        OSError: The file cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    types = {"text": pa.string(), "number": pa.float64(), "flag": pa.bool_()}
    types |= {"texts": pa.list_(pa.string()), "numbers": pa.list_(pa.float64())}
    metadata = {} if classes is None else {"classes": json.dumps(list(classes))}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()], metadata=metadata)
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        while some := list(islice(rows, _ROWS_OF_A_GROUP)):
            writer.write_table(pa.Table.from_pylist([_plain(row) for row in some], schema=schema))


def write_features(path: Path, rows: Iterator[tuple[str, NDArray[np.float32]]]) -> None:
    """Writes names and features, float32 (D,) each, as a Parquet file with the columns file and features.

    Raises:
        OSError: The file cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([("file", pa.string()), ("features", pa.list_(pa.float32()))])
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        while some := list(islice(rows, _ROWS_OF_A_GROUP)):
            columns = [[_text(name) for name, _ in some], [features for _, features in some]]
            arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _text(value) if isinstance(value, str) else value for name, value in row.items()}


def _text(text: str) -> str:
    """Text as UTF-8, as a Parquet file holds nothing else."""
    return text.encode("utf-8", "backslashreplace").decode()
