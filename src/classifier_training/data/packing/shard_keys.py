"""The keys under which images are packed: made from their paths, and distinct."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from classifier_training.types import ImageRecord

_MAX_LENGTH = 80  # with extension and number, a name stays within the 100 bytes of a plain tar header
_OTHERS = re.compile(r"[^A-Za-z0-9_/-]+")


class ShardKeys:
    """Gives every image of a list its key.

    A key is the image's path below the root without its extension, in letters, digits, ``_``, ``-`` and ``/``. Where
    that is the same for several, each gets its position after a ``~``.

    Args:
        records: The images.
        root: What their paths are relative to.
    """

    def __init__(self, records: Sequence[ImageRecord], root: str) -> None:
        self._records = records
        self._root = root
        # hashes, as the keys themselves would fill the memory with many millions of images
        hashes = np.fromiter((_hash(_stem(record, root)) for record in records), np.uint64, len(records))
        _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        self._is_repeated = counts[inverse] > 1

    def __getitem__(self, position: int) -> str:
        stem = _stem(self._records[position], self._root)
        return f"{stem}~{position}" if self._is_repeated[position] else stem


def _stem(record: ImageRecord, root: str) -> str:
    if record.member:
        path = record.member
    elif record.path.startswith(root.rstrip(os.sep) + os.sep):
        path = record.path[len(root.rstrip(os.sep)) :]
    else:
        path = "/".join(PurePath(record.path).parts[-2:])
    folder, _, name = path.replace("\\", "/").strip("/").rpartition("/")
    stem = name.rpartition(".")[0] or name
    parts = [_OTHERS.sub("_", part) for part in (*folder.split("/"), stem.lstrip(".")) if part not in {"", ".", ".."}]
    return "/".join(parts)[-_MAX_LENGTH:].strip("/") or "image"


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
