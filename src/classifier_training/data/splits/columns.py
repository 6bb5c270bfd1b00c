"""The rows of ``split.csv`` as text, by columns: millions of rows take seconds and no objects."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.index.table import ROWS_PER_BATCH, Index
from classifier_training.files.tables import format_rows
from classifier_training.types import Split

if TYPE_CHECKING:
    import pyarrow as pa

_TO_QUOTE: Final = '[\\x00-\\x1f\\x7f-\\x9f\\x{2028}\\x{2029}\\x{feff}",]|\\\\u[0-9a-f]{4}'
"""What `files.tables` escapes or quotes, as pyarrow's regular expressions have it."""


def split_lines(index: Index, rows: NDArray[np.integer[Any]], split: Split) -> Iterator[bytes]:
    """The lines of some images, some ten thousand at a time.

    Args:
        index: The images.
        rows: int (N,), which of them, in the order in which they are written.
        split: Their split.
    """
    batches = rows // ROWS_PER_BATCH
    ends = [*(np.flatnonzero(np.diff(batches)) + 1).tolist(), len(rows)]
    start = 0
    for end in ends:
        for first in range(start, end, ROWS_PER_BATCH):
            yield _lines(index, rows[first : min(end, first + ROWS_PER_BATCH)], split)
        start = end


def _lines(index: Index, rows: NDArray[np.integer[Any]], split: Split) -> bytes:
    import pyarrow as pa
    import pyarrow.compute as pc

    batch = index.take(rows)
    path, offset, size, member = _locations(batch)
    columns = [_dictionary_cells(batch.column("label")), path, _hex(index.digests[rows]), offset, size, member]
    # the last piece closes the row: no reason, and the line break
    comma = pa.scalar(",")
    joined = pc.binary_join_element_wise(split, *columns, "", comma)
    lines = pc.binary_join_element_wise(joined, "\n", pa.scalar(""))
    return _bytes_of(lines)


def _locations(batch: pa.RecordBatch) -> tuple[Any, Any, Any, Any]:
    """The cells of path, offset, size and member."""
    import pyarrow as pa
    import pyarrow.compute as pc

    places, names = batch.column("place"), batch.column("name")
    folders = pa.array([os.path.join(place, "") for place in places.dictionary.to_pylist()], pa.string())  # noqa: PTH118
    files = _cells(pc.binary_join_element_wise(folders.take(places.indices), names, pa.scalar("")))
    if "offset" not in batch.schema.names:
        return files, pa.scalar(""), pa.scalar(""), pa.scalar("")
    offsets, sizes = (pc.cast(batch.column(name), pa.string()) for name in ("offset", "size"))
    is_member = offsets.is_valid()
    paths = pc.if_else(is_member, _dictionary_cells(places), files)
    # an offset of a member without a name cannot be told from none, so it is not written
    has_name = pc.and_(is_member, pc.greater(pc.binary_length(names), 0))
    offsets = pc.if_else(has_name, pc.fill_null(offsets, ""), "")
    return paths, offsets, pc.fill_null(sizes, ""), pc.if_else(is_member, _cells(names), "")


def _dictionary_cells(column: pa.DictionaryArray) -> pa.Array:
    return _cells(column.dictionary).take(column.indices)


def _cells(texts: pa.Array) -> pa.Array:
    """The texts as they stand between the commas."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_odd = pc.match_substring_regex(texts, _TO_QUOTE)
    if not pc.any(is_odd).as_py():
        return texts
    odd = [format_rows([[text]])[:-1] for text in texts.filter(is_odd).to_pylist()]
    return pc.replace_with_mask(texts, is_odd, pa.array(odd, texts.type))


def _hex(digests: NDArray[np.uint8]) -> pa.Array:
    import pyarrow as pa

    count, width = digests.shape
    text = np.ascontiguousarray(digests).tobytes().hex().encode()
    offsets = np.arange(count + 1, dtype=np.int32) * (2 * width)
    return pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def _bytes_of(texts: pa.Array) -> bytes:
    """All texts, one behind the other."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return bytes(texts.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0])))
