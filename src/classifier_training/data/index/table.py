"""The columnar index of a source: one row an image, memory-mapped, shared by all processes.

It holds where the bytes of every image are, its label, the split that the source gives it, its size, its mode and
its content hash. Nothing in it is a Python object, so that a worker's memory does not grow while it reads.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.index.check import DIGEST_BYTES, Facts
from classifier_training.data.sources.listing import Listing, record_at
from classifier_training.files.atomic import atomic_path
from classifier_training.types import ImageRecord

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION: Final = 5
ROWS_PER_BATCH: Final = 65_536
_METADATA: Final = b"classifier_training"


class Index:
    """Reads an index file; pickles as its path.

    Args:
        path: What `write_index` wrote.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not an index, or of another version.
    """

    def __init__(self, path: str | Path) -> None:
        import pyarrow as pa

        self.path = Path(path)
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self.metadata: dict[str, Any] = json.loads((reader.schema.metadata or {}).get(_METADATA, b"{}"))
        if self.metadata.get("version") != FORMAT_VERSION:
            raise ValueError(f"{path} is an index of version {self.metadata.get('version')}, not {FORMAT_VERSION}")
        self.schema = reader.schema
        self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self._columns = {name: number for number, name in enumerate(reader.schema.names)}

    def __reduce__(self) -> tuple[type[Index], tuple[Path]]:
        return Index, (self.path,)

    def __len__(self) -> int:
        return sum(batch.num_rows for batch in self._batches)

    @property
    def errors(self) -> dict[int, str]:
        """Why a row is not an image, by row."""
        return {int(row): reason for row, reason in self.metadata["errors"].items()}

    @functools.cached_property
    def label_names(self) -> tuple[str, ...]:
        """The class names that `labels` count in; in no special order."""
        return tuple(self._batches[0].column(self._columns["label"]).dictionary.to_pylist() if self._batches else ())

    @functools.cached_property
    def labels(self) -> NDArray[np.int32]:
        """int32 (N,), positions in `label_names`."""
        column = self._columns["label"]
        parts = [_values(batch.column(column).indices, np.int32) for batch in self._batches]
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)

    @functools.cached_property
    def splits(self) -> NDArray[np.int8]:
        """int8 (N,), positions in `SPLITS`; `NO_SPLIT` where the source defines none."""
        return self._numbers("split", np.int8)

    @functools.cached_property
    def digests(self) -> NDArray[np.uint8]:
        """uint8 (N, 16), content hashes; zero where it is not an image."""
        column = self._columns["digest"]
        parts = [
            np.frombuffer(batch.column(column).buffers()[1], np.uint8)[: batch.num_rows * DIGEST_BYTES]
            for batch in self._batches
        ]
        return (parts[0] if len(parts) == 1 else np.concatenate(parts)).reshape(-1, DIGEST_BYTES)

    @property
    def widths(self) -> NDArray[np.uint16]:
        """uint16 (N,), pixels, of the upright images."""
        return self._numbers("width", np.uint16)

    @property
    def heights(self) -> NDArray[np.uint16]:
        """uint16 (N,), pixels, of the upright images."""
        return self._numbers("height", np.uint16)

    @property
    def stamps(self) -> NDArray[np.uint32]:
        """uint32 (N,), `file_stamp` of each image's file."""
        return self._numbers("stamp", np.uint32)

    @property
    def identities(self) -> NDArray[np.uint32]:
        """uint32 (N,), `identity_stamp` of each image's file."""
        return self._numbers("identity", np.uint32)

    @property
    def modes(self) -> NDArray[np.uint8]:
        """uint8 (N,), positions in `MODES`."""
        return self._numbers("mode", np.uint8)

    @property
    def flat(self) -> NDArray[np.uint8]:
        """uint8 (N,), 1 where a transparent or deep image is decoded to (nearly) one colour."""
        return self._numbers("flat", np.uint8)

    @property
    def weights(self) -> NDArray[np.float32] | None:
        """float32 (N,), sampling weights; None where the source has none, NaN where a row has none."""
        if "weight" not in self._columns:
            return None
        return np.concatenate(
            [batch.column(self._columns["weight"]).to_numpy(zero_copy_only=False) for batch in self._batches]
        ).astype(np.float32)

    def groups(self) -> list[str | None] | None:
        """What must stay in one split together, by row; None where the source has no groups."""
        if "group" not in self._columns:
            return None
        return [group for batch in self._batches for group in batch.column(self._columns["group"]).to_pylist()]

    def record(self, row: int) -> ImageRecord:
        """Where the bytes of an image are."""
        number, offset = divmod(int(row), ROWS_PER_BATCH)
        batch, columns = self._batches[number], self._columns
        location, name = batch.column(columns["place"])[offset].as_py(), batch.column(columns["name"])[offset].as_py()
        stamp = batch.column(columns["stamp"])[offset].as_py() or None
        if "offset" not in columns:
            return record_at(location, name, None, None, stamp)
        start, size = (batch.column(columns[column])[offset].as_py() for column in ("offset", "size"))
        return record_at(location, name, start, size, stamp)

    def take(self, rows: NDArray[np.integer[Any]]) -> pa.RecordBatch:
        """All columns of some rows, which lie in the same `ROWS_PER_BATCH` rows."""
        import pyarrow as pa

        return self._batches[int(rows[0]) // ROWS_PER_BATCH].take(pa.array(rows % ROWS_PER_BATCH))

    def keys(self) -> pa.ChunkedArray:
        """One text a row for the location of its bytes, for joining with another index of the same source."""
        import pyarrow as pa

        return pa.chunked_array([_keys(batch) for batch in self._batches], pa.large_string())

    def folders_below(self, cache: Path) -> set[Path]:
        """The folders in the cache folder that hold copies of this source's files."""
        remote, kept = str(cache / "remote"), (cache / "remote", cache / "unpacked")
        files, names = {Path(watched[0]) for watched in self.metadata.get("watched", [])}, set[str]()
        for batch in self._batches:
            locations = batch.column(self._columns["place"])
            files.update(Path(location) for location in locations.dictionary.to_pylist())
            if remote in locations.dictionary.to_pylist():  # images of their own: the name begins with the folder's
                names.update(name.partition("/")[0] for name in batch.column(self._columns["name"]).to_pylist())
        return {file.parent for file in files if file.parent.parent in kept} | {kept[0] / name for name in names}

    def _numbers(self, name: str, dtype: type[np.generic]) -> NDArray[Any]:
        parts = [_values(batch.column(self._columns[name]), dtype) for batch in self._batches]
        return np.concatenate(parts) if parts else np.zeros(0, dtype)


class RowRecords(Sequence[ImageRecord]):
    """Where the images of some rows are, looked up when asked for.

    Args:
        source: The index.
        rows: int (N,), rows in it.
    """

    def __init__(self, source: Index, rows: NDArray[np.integer[Any]]) -> None:
        self.source = source
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, position: int) -> ImageRecord: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[ImageRecord]: ...

    def __getitem__(self, position: int | slice) -> ImageRecord | Sequence[ImageRecord]:
        if isinstance(position, slice):
            return RowRecords(self.source, self.rows[position])
        return self.source.record(int(self.rows[position]))

    def __iter__(self) -> Iterator[ImageRecord]:
        return (self.source.record(int(row)) for row in self.rows)

    def digest(self, position: int) -> str:
        """The content hash of an image, as hexadecimal digits."""
        return bytes(self.source.digests[self.rows[position]]).hex()


def write_index(path: Path, listing: Listing, facts: Facts, **metadata: Any) -> None:
    """Writes the index of a listing and its images' facts, whole or not at all, with plain values to keep in it."""
    import pyarrow as pa

    rows = listing.rows
    kept = [name for name in rows.column_names if rows.column(name).null_count < max(1, rows.num_rows)]
    digests = pa.Array.from_buffers(
        pa.binary(DIGEST_BYTES), rows.num_rows, [None, pa.py_buffer(np.ascontiguousarray(facts.digests))]
    )
    table = rows.select(kept).append_column("digest", digests)
    columns = {"width": facts.widths, "height": facts.heights, "stamp": facts.stamps}
    columns |= {"identity": facts.identities, "mode": facts.modes, "flat": facts.flat}
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    about = {
        "version": FORMAT_VERSION,
        "layout": listing.layout,
        "places": dict(listing.locations),
        "warnings": listing.warnings,
        "errors": {str(row): reason for row, reason in facts.errors.items()},
        **metadata,
    }
    table = table.replace_schema_metadata({_METADATA: json.dumps(about).encode()})
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        for start in range(0, table.num_rows, ROWS_PER_BATCH):  # batches of one length: a row is found by divmod
            writer.write_table(table.slice(start, ROWS_PER_BATCH).combine_chunks(), ROWS_PER_BATCH)


def listing_keys(rows: pa.Table) -> pa.ChunkedArray:
    """As `Index.keys`, of a listing."""
    import pyarrow as pa

    return pa.chunked_array([_keys(batch) for batch in rows.to_batches()], pa.large_string())


def _values(column: pa.Array, dtype: type[np.generic]) -> NDArray[Any]:
    """The memory of a column without nulls; pyarrow's own conversion imports pandas where that is installed."""
    return np.frombuffer(column.buffers()[1], dtype)[column.offset : column.offset + len(column)]


def _keys(batch: pa.RecordBatch) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [batch.column("place").dictionary_decode(), batch.column("name")]
    # a missing offset counts as an empty text, whether the column exists or not
    parts.append(batch.column("offset") if "offset" in batch.schema.names else pa.nulls(batch.num_rows, pa.int64()))
    texts = [pc.cast(pc.cast(part, pa.string()), pa.large_string()) for part in parts]
    between = pa.scalar("\0", pa.large_string())
    return pc.binary_join_element_wise(*texts, between, null_handling="replace", null_replacement="")
