"""The images of one split as a run has recorded them, millions of them without an object an image."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import DataError
from classifier_training.files.tables import unescape
from classifier_training.files.text import name_some
from classifier_training.types import ImageRecord, Sample, Split

if TYPE_CHECKING:
    import pyarrow as pa

DIGEST_BYTES: Final = 16
_BLOCK_BYTES: Final = 1 << 21
_MOST_NAMES: Final = 1 << 15
_DIGEST: Final = re.compile(f"[0-9a-f]{{{2 * DIGEST_BYTES}}}")
_NUMBER: Final = r"^[0-9]*$"
_FOLDER_AND_NAME: Final = r"^(?P<folder>(?s:.*[/\\])?)(?P<name>(?s:[^/\\]*))$"


class RecordedImages(Sequence[Sample]):
    """Images of a split, looked up when asked for; equal to a list of the same samples.

    Args:
        batches: Some images each, in order: a list of samples, or columns of folder, name, label, and for members of
            larger files offset, size and member.
        digests: uint8 (N, 16), content hashes as they were when the run began; zero where none was recorded.
    """

    def __init__(self, batches: Sequence[list[Sample] | pa.RecordBatch], digests: NDArray[np.uint8]) -> None:
        self.digests = digests
        self._batches = batches
        self._starts = np.cumsum([0, *map(len, batches)]).tolist()

    @classmethod
    def of_rows(cls, rows: Sequence[tuple[Sample, str]]) -> RecordedImages:
        """Images with their content hashes, as hexadecimal digits or empty."""
        digests = _digests([digest for _, digest in rows])
        return cls([[sample for sample, _ in rows]], digests)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, position: int) -> Sample: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[Sample]: ...

    def __getitem__(self, position: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(position, slice):
            return [self[number] for number in range(*position.indices(len(self)))]
        position = range(len(self))[position]
        number = bisect.bisect_right(self._starts, position) - 1
        batch, offset = self._batches[number], position - self._starts[number]
        return batch[offset] if isinstance(batch, list) else _sample(batch.slice(offset, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[Sample]:
        for batch in self._batches:
            yield from batch if isinstance(batch, list) else map(_sample, batch.to_pylist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(Sample.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]  # as a list


def read_columnar(path: Path, split: Split) -> RecordedImages | None:
    """The images of one split of a ``split.csv``; None without pyarrow, or where it finds anything unusual in it."""
    try:
        import pyarrow as pa
        from pyarrow import csv
    except ImportError:
        return None
    try:
        with path.open(encoding="utf-8-sig") as file:
            names = [unescape(name) for name in file.readline().rstrip("\n").split(",")]
        reader = csv.open_csv(
            path,
            csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),  # threads keep more blocks in memory
            csv.ParseOptions(newlines_in_values=True),  # as version 0.1 wrote them
            csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
        kept, digests = list[pa.RecordBatch](), bytearray()  # it grows in place
        for batch in reader:
            columns, of_batch = _columns(batch, split)
            kept.append(columns)
            digests += of_batch.data
    except (OSError, ValueError, KeyError):  # pyarrow's errors are among them
        return None
    pa.default_memory_pool().release_unused()
    return RecordedImages(kept, np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES))


def _columns(batch: pa.RecordBatch, split: Split) -> tuple[pa.RecordBatch, NDArray[np.uint8]]:
    """The rows of a split: folders and classes repeat, and so do the beginnings of paths.

    Raises:
        ValueError: A cell is not what `write_split` writes.
        KeyError: A column is missing.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    batch = batch.filter(pc.equal(batch.column("split"), split))
    path = pc.extract_regex(batch.column("path"), _FOLDER_AND_NAME)
    columns = {
        "folder": _encoded(path.field("folder")),
        "name": path.field("name"),
        "label": _encoded(batch.column("label")),
    }
    for name in {"offset", "size"} & set(batch.schema.names):
        texts = batch.column(name)
        if not pc.all(pc.match_substring_regex(texts, _NUMBER), min_count=0).as_py():
            raise ValueError(f"the column {name} holds something else than numbers")
        if pc.any(pc.not_equal(texts, "")).as_py():
            columns[name] = pc.cast(
                pc.replace_with_mask(texts, pc.equal(texts, ""), pa.scalar(None, pa.string())), pa.int64()
            )
    if "member" in batch.schema.names and pc.any(pc.not_equal(batch.column("member"), "")).as_py():
        columns["member"] = batch.column("member")
    kept = pa.RecordBatch.from_pydict(columns)
    return kept, _digests(batch.column("digest").to_pylist())


def _encoded(texts: pa.Array) -> pa.DictionaryArray:
    """Each text once, with two bytes a row where that is enough."""
    import pyarrow as pa

    found = texts.dictionary_encode()
    if len(found.dictionary) > _MOST_NAMES:
        return found
    return pa.DictionaryArray.from_arrays(found.indices.cast(pa.int16()), found.dictionary)


def _digests(texts: list[str]) -> NDArray[np.uint8]:
    """uint8 (N, 16), zero for a text that is not a content hash."""
    unknown = "0" * (2 * DIGEST_BYTES)
    joined = "".join(text if _DIGEST.fullmatch(text) else unknown for text in texts)
    return np.frombuffer(bytes.fromhex(joined), np.uint8).reshape(-1, DIGEST_BYTES)


def _sample(row: dict[str, Any]) -> Sample:
    path = unescape(row["folder"] + row["name"])
    size = row.get("size")
    image = ImageRecord(path, row.get("offset") or 0, size, unescape(row.get("member") or ""))
    return Sample(image, unescape(row["label"]))


def check_contents(
    what: str, images: Sequence[Sample], recorded: NDArray[np.uint8], found: NDArray[np.uint8], advice: str
) -> None:
    """Refuses images whose content is not what a run recorded: their scores would not be those of the run's images.

    Args:
        what: Which images these are, for the message.
        images: N images.
        recorded: uint8 (N, 16), content hashes of the run; zero where it recorded none.
        found: uint8 (N, 16), those of the files as they are; zero where a file cannot be read.
        advice: What to do about it.

    Raises:
        DataError: Some have another content.
    """
    are_known = recorded.any(axis=1) & found.any(axis=1)
    changed = np.flatnonzero(are_known & (recorded != found).any(axis=1))
    if len(changed):
        raise DataError(
            f"{what}: {len(changed)} of {len(images)} images have another content than when the run began:"
            f" {name_some(images[row].path for row in changed.tolist())}; {advice}"
        )
