"""Features on disk: one table for each backbone, view and preprocessing, to which every run adds what it computes.

``values.bin`` holds the features, ``digests.bin`` the content hash of the image and a checksum of each row. A row is
there when its entry in ``digests.bin`` is, which is written after its values, so a process may be killed and a disk may
fill up at any moment; what is not whole counts as missing.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.cache.live import note_use
from classifier_training.data.cache.mapped_file import WritableFile, map_file
from classifier_training.data.cache.upkeep import FEATURES_FOLDER, PHOTOS_FILE, bound_copies, room_for_copies
from classifier_training.data.splits.together import DIGEST_BYTES
from classifier_training.files.atomic import write_json, write_text

VALUES_FILE: Final = "values.bin"
DIGESTS_FILE: Final = "digests.bin"
META_FILE: Final = "meta.json"
_LOCK_FILE: Final = ".lock"
_LOCK_SECONDS: Final = 60.0
_CHECK_BYTES: Final = 8
_ENTRY: Final = np.dtype([("digest", np.uint8, DIGEST_BYTES), ("check", np.uint8, _CHECK_BYTES)])


class FeatureTable:
    """The features of one backbone for one view, by content hash.

    Letters: N images, D features.

    Args:
        cache: The cache folder.
        form: What the features depend on besides the image; tables of equal forms are one.
        num_features: D.
        photos: Of which photos it is, for people who ask what the cache folder holds.
        limit: ``data.copies_limit``, bytes; None: a share of what is free.

    Raises:
        OSError: The folder cannot be made or written.
    """

    def __init__(
        self, cache: Path, form: Sequence[str], num_features: int, *, photos: str = "", limit: int | None = None
    ) -> None:
        key = hashlib.blake2b("\0".join([*form, str(num_features)]).encode(), digest_size=16).hexdigest()
        self.cache = cache
        self.folder = cache / FEATURES_FOLDER / key
        self.num_features = num_features
        self.limit = limit
        self.folder.mkdir(parents=True, exist_ok=True)
        note_use(self.folder, cache)
        if not (self.folder / META_FILE).is_file():
            write_json(self.folder / META_FILE, {"form": list(form), "num_features": num_features})
            write_text(self.folder / PHOTOS_FILE, photos)
        for name in (VALUES_FILE, DIGESTS_FILE):
            (self.folder / name).touch()
        self._num_rows = room_for_copies(cache, limit) // (4 * num_features + _ENTRY.itemsize)  # that there is room for

    def find(self, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        """int64 (N,), the row of each content hash, uint8 (N, 16); -1 where there is none."""
        entries = self._entries()
        if not len(entries) or not len(digests):
            return np.full(len(digests), -1, np.int64)
        there = np.ascontiguousarray(entries["digest"]).view("V16").ravel()
        wanted = np.ascontiguousarray(digests).view("V16").ravel()
        # of two rows of one image the later one counts: the earlier was damaged
        rows = {key: row for row, key in enumerate(there.tolist())}
        return np.fromiter((rows.get(key, -1) for key in wanted.tolist()), np.int64, len(wanted))

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Rows of the table, and which of them are whole.

        Rows that follow each other are given as read-only memory of the file.

        Args:
            rows: int64 (N,), rows that there are.

        Returns:
            float32 (N, D) and bool (N,).
        """
        if not len(rows):
            return np.zeros((0, self.num_features), np.float32), np.zeros(0, np.bool_)
        path = self.folder / VALUES_FILE
        count = path.stat().st_size // (4 * self.num_features)
        content = map_file(path) if count else b""
        stored = np.frombuffer(content, np.float32, count * self.num_features).reshape(-1, self.num_features)
        checks = self._entries()["check"]
        is_there = rows < len(stored)
        first = int(rows[0])
        if is_there.all() and (np.diff(rows) == 1).all():
            values = stored[first : first + len(rows)]
        else:
            values = np.zeros((len(rows), self.num_features), np.float32)
            values[is_there] = stored[rows[is_there]]
        is_good = np.fromiter(
            (is_there[at] and _check(values[at]) == checks[row].tobytes() for at, row in enumerate(rows.tolist())),
            np.bool_,
            len(rows),
        )
        return values, is_good

    def append(self, digests: NDArray[np.uint8], values: NDArray[np.float32]) -> bool:
        """Adds rows, the content hashes last, as only these make them count.

        Args:
            digests: uint8 (N, 16), content hashes.
            values: float32 (N, D).

        Returns:
            Whether there was room.

        Raises:
            OSError: The disk is full or read-only, or another process holds the table for a minute.
        """
        from filelock import FileLock

        values = np.ascontiguousarray(values, np.float32)
        with FileLock(self.folder / _LOCK_FILE, timeout=_LOCK_SECONDS):
            count = self._num_entries()
            if count + len(values) > self._num_rows:
                return False
            added = np.zeros(len(values), _ENTRY)
            added["digest"] = digests
            added["check"] = np.frombuffer(b"".join(map(_check, values)), np.uint8).reshape(-1, _CHECK_BYTES)
            to_values = WritableFile(self.folder / VALUES_FILE)
            to_values.write_at(count * 4 * self.num_features, values.data.cast("B"))
            WritableFile(self.folder / DIGESTS_FILE).write_at(count * _ENTRY.itemsize, added.tobytes())
        return True

    def bound(self) -> None:
        """Removes what was used longest ago in the cache folder, where all of it takes too much with this table."""
        with contextlib.suppress(OSError):
            bound_copies(self.cache, self.limit)

    def _entries(self) -> NDArray[np.void]:
        """The whole entries of ``digests.bin``; what a killed process began to write there is overwritten."""
        count = self._num_entries()
        return np.fromfile(self.folder / DIGESTS_FILE, _ENTRY, count) if count else np.zeros(0, _ENTRY)

    def _num_entries(self) -> int:
        return (self.folder / DIGESTS_FILE).stat().st_size // _ENTRY.itemsize


def _check(values: NDArray[np.float32]) -> bytes:
    """A checksum of one row."""
    return hashlib.blake2b(values.data.cast("B") if values.size else b"", digest_size=_CHECK_BYTES).digest()
