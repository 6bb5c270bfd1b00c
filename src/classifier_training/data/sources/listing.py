"""What a source found: labelled images as columns, in the splits that the source itself defines.

Nothing here imports pyarrow before rows are added: scoring an exported model on a run's own split needs none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from classifier_training.errors import DataError
from classifier_training.types import SPLITS, ImageRecord, Sample, Split

if TYPE_CHECKING:
    import pyarrow as pa

SPLIT_OF_NAME: Final[Mapping[str, Split]] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
NO_SPLIT: Final = -1
"""In the split column where the source defines no split."""
_FLUSH_ROWS = 65_536


def listing_schema() -> pa.Schema:
    """Columns of a listing.

    ``place``/``name`` is a file of its own, or ``place`` is a file that holds the image ``name`` from ``offset`` on
    for ``size`` bytes. ``offset``, ``size``, ``group`` and ``weight`` are null where a source has none.
    """
    import pyarrow as pa

    return pa.schema(
        [
            ("place", pa.dictionary(pa.int32(), pa.string())),
            ("name", pa.string()),
            ("offset", pa.int64()),
            ("size", pa.int64()),
            ("label", pa.dictionary(pa.int32(), pa.string())),
            ("split", pa.int8()),
            ("group", pa.string()),
            ("weight", pa.float32()),
        ]
    )


class RowWriter:
    """Collects rows by the folder, the shard or the table row, without an object an image.

    Example:
        >>> writer = RowWriter()
        >>> writer.add("photos/cat", ["a.jpg", "b.jpg"], "cat", split="train")
        >>> writer.add("train-000.tar", ["x.jpg"], ["dog"], offsets=[512], sizes=[9_000], split="train")
        >>> writer.table().num_rows
        3
    """

    def __init__(self) -> None:
        self.num_rows = 0
        self._schema = listing_schema()
        self._waiting: dict[str, list[Any]] = {name: [] for name in self._schema.names}
        self._batches: list[pa.RecordBatch] = []

    def add(
        self,
        location: str,
        names: Sequence[str],
        labels: str | Sequence[str],
        *,
        split: Split | None = None,
        offsets: Sequence[int] | None = None,
        sizes: Sequence[int] | None = None,
        groups: Sequence[str | None] | None = None,
        weights: Sequence[float | None] | None = None,
    ) -> None:
        """Adds the images of one folder or of one file that holds many.

        Args:
            location: A folder (or its address), or a file that holds many images.
            names: File names in the folder, or member names in the file.
            labels: Class name of all, or of each.
            split: Their split; None: the source defines none.
            offsets: Where each image begins in the file ``place``; None: ``place`` is a folder.
            sizes: Length of each image, bytes; needed with ``offsets``.
            groups: What must stay in one split together.
            weights: Sampling weight of each image.
        """
        count = len(names)
        _refuse_other_than_unicode(location, names, labels, groups or ())
        columns: dict[str, Sequence[Any]] = {
            "place": [location] * count,
            "name": names,
            "offset": offsets or [None] * count,
            "size": sizes or [None] * count,
            "label": [labels] * count if isinstance(labels, str) else labels,
            "split": [NO_SPLIT if split is None else SPLITS.index(split)] * count,
            "group": groups or [None] * count,
            "weight": weights or [None] * count,
        }
        for name, values in columns.items():
            self._waiting[name].extend(values)
        self.num_rows += count
        self._flush(_FLUSH_ROWS)

    def table(self) -> pa.Table:
        """All rows, in the order in which they were added; columns as in `listing_schema`."""
        import pyarrow as pa

        self._flush()
        return pa.Table.from_batches(self._batches, self._schema).unify_dictionaries()

    def _flush(self, at_least: int = 1) -> None:
        import pyarrow as pa

        if len(self._waiting["name"]) < at_least:
            return
        arrays = [
            pa.array(self._waiting[column.name], pa.string()).dictionary_encode()
            if pa.types.is_dictionary(column.type)
            else pa.array(self._waiting[column.name], column.type)
            for column in self._schema
        ]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._waiting = {name: [] for name in self._schema.names}


@dataclass(frozen=True, slots=True)
class Listing:
    """The labelled images of one root.

    Attributes:
        layout: The layout of the photos, human-readable.
        rows: One row an image, columns as in `listing_schema`, in a stable order.
        locations: The folder or table of each split that the source defines. A split that is
            named here and has no rows is empty.
        warnings: What the user should know: empty class folders, ignored files.
        watched: Files and folders whose change means that the listing is out of date.
    """

    layout: str
    rows: pa.Table
    locations: Mapping[Split, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    watched: list[str] = field(default_factory=list)

    def count(self, split: Split | None) -> int:
        """Number of rows of a split, or of those without one."""
        import pyarrow.compute as pc

        code = NO_SPLIT if split is None else SPLITS.index(split)
        return int(pc.sum(pc.equal(self.rows.column("split"), code)).as_py() or 0)

    def samples(self, split: Split | None = None) -> list[Sample]:
        """The images of a split, or of a root without splits, one by one: for few of them."""
        code = NO_SPLIT if split is None else SPLITS.index(split)
        columns = ["place", "name", "offset", "size", "label", "split"]
        return [
            Sample(record_at(row["place"], row["name"], row["offset"], row["size"]), row["label"])
            for row in self.rows.select(columns).to_pylist()
            if row["split"] == code
        ]


def record_at(location: str, name: str, offset: int | None, size: int | None, stamp: int | None = None) -> ImageRecord:
    """Where the bytes of a listed image are."""
    if offset is None:
        return ImageRecord(os.path.join(location, name), stamp=stamp)  # noqa: PTH118 - called once an image
    return ImageRecord(location, offset, size, name, stamp)


def _refuse_other_than_unicode(
    location: str, names: Sequence[str], labels: str | Sequence[str], groups: Sequence[str | None]
) -> None:
    """Such a name could be written neither into the index nor into the exported model's class names."""
    classes = [labels] if isinstance(labels, str) else labels
    try:
        "".join((location, *names, *classes)).encode()
    except UnicodeEncodeError:
        position = next((number for number, name in enumerate(names) if not _is_unicode(name)), 0)
        label = next((label for label in classes if not _is_unicode(label)), classes[0] if classes else "")
        file = f"{location}/{names[position]}" if names else location
        raise DataError(f"the name of class {label!a}, file {file!a}, is not Unicode text; rename it") from None
    if not _is_unicode("".join(filter(None, groups))):
        name, group = next(pair for pair in zip(names, groups, strict=True) if not _is_unicode(pair[1] or ""))
        raise DataError(f"the group {group!a} of {location}/{name} is not Unicode text; rename it")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
