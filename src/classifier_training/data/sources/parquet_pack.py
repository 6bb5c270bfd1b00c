"""The images of a Parquet file as one plain file, in which each can be found by its offset.

Parquet can read a group of rows, not one image, so each file's images are copied once into the cache.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.cache.folder import one_at_a_time, writing_to
from classifier_training.data.cache.live import note_use
from classifier_training.data.cache.upkeep import PACK_ENDING, PHOTOS_FILE
from classifier_training.data.sources.parquet_columns import open_parquet
from classifier_training.files.atomic import atomic_path, write_text
from classifier_training.files.text import plain_text

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION: Final = 1
_ROWS: Final = "rows.arrow"
_ROWS_AT_ONCE: Final = 64
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Pack:
    """The images of N rows.

    Attributes:
        path: The file that holds them.
        offsets: int64 (N,), where each begins; -1 for a row without bytes.
        sizes: int64 (N,), their lengths, bytes.
        names: The file name that each row gives; None where it gives none.
    """

    path: Path
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    names: list[str | None]


def unpack_images(source: Path, column: str, cache: Path, shown: str) -> Pack:
    """The images of a Parquet file in a column of ``{bytes, path}``, copied into the cache unless they are there.

    Packs lie in ``unpacked/`` below the cache folder. Messages call the file ``shown``.

    Raises:
        DataError: The file cannot be read, or the cache cannot be written.
    """
    status = source.stat()
    key = f"{FORMAT_VERSION}\0{source}\0{status.st_size}\0{status.st_mtime_ns}\0{column}"
    folder = cache / "unpacked" / hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    path = folder / f"{source.stem}{PACK_ENDING}"
    pack = _existing(path)
    if pack is None:
        with writing_to(cache), one_at_a_time(path):
            pack = _existing(path) or _unpack(source, column, path, shown)  # another process may have been first
    note_use(folder, cache)
    return pack


def _existing(path: Path) -> Pack | None:
    """The pack at a path, unless it is missing, damaged or cut off."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path.with_name(_ROWS))) as file:
            rows = pa.ipc.open_file(file).read_all()
        is_whole = path.stat().st_size == int(rows.schema.metadata[b"pack_bytes"])
    except (OSError, ValueError, KeyError, TypeError):  # pyarrow's errors are among them
        return None
    return _pack(path, rows) if is_whole else None


def _unpack(source: Path, column: str, path: Path, shown: str) -> Pack:
    import pyarrow as pa

    status = source.stat()
    parts: list[pa.RecordBatch] = []
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            parts.extend(_append(file, images) for images in _image_batches(source, column, shown))
            size = file.tell()
        # a pack that is rebuilt looks the same
        os.utime(temporary, ns=(status.st_mtime_ns, status.st_mtime_ns))
    schema = pa.schema([("offset", pa.int64()), ("size", pa.int64()), ("name", pa.string())])
    rows = pa.Table.from_batches(parts, schema).replace_schema_metadata({"pack_bytes": str(size)})
    write_text(path.with_name(PHOTOS_FILE), plain_text(shown))
    # last: a pack without it is not finished
    with (
        atomic_path(path.with_name(_ROWS)) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, rows.schema) as writer,
    ):
        writer.write_table(rows)
    return _pack(path, rows)


def _image_batches(source: Path, column: str, shown: str) -> Iterator[pa.StructArray]:
    """Yields the struct arrays of some rows each, so that no more than these are in memory."""
    with open_parquet(source, shown, buffer_size=_READ_BYTES, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[column]):
            yield batch.column(0)


def _append(file: BinaryIO, images: pa.StructArray) -> pa.RecordBatch:
    """Writes the images, and returns where they are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    offsets, sizes = [], []
    for value in pc.struct_field(images, "bytes"):
        content = value.as_buffer() if value.is_valid else None
        offsets.append(-1 if content is None else file.tell())
        sizes.append(0 if content is None else content.size)
        if content is not None:
            file.write(content)
    has_names = images.type.get_field_index("path") >= 0
    names = pc.cast(pc.struct_field(images, "path"), pa.string()) if has_names else pa.nulls(len(offsets), pa.string())
    columns = [pa.array(offsets, pa.int64()), pa.array(sizes, pa.int64()), names]
    return pa.record_batch(columns, ["offset", "size", "name"])


def _pack(path: Path, rows: pa.Table) -> Pack:
    return Pack(
        path,
        rows.column("offset").to_numpy(),
        rows.column("size").to_numpy(),
        rows.column("name").to_pylist(),
    )
