"""Writes images into tar shards, byte for byte the same from the same images."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, Final

import numpy as np

from classifier_training.files.atomic import atomic_path
from classifier_training.types import ImageRecord

_MAX_LENGTH: Final = 80  # with extension and number, a name stays within the 100 bytes of a plain tar header
_OTHERS: Final = re.compile(r"[^A-Za-z0-9_/-]+")


@dataclass(frozen=True, slots=True)
class PackedSample:
    """One image as it is packed: ``key`` is its name without the extension, which has the dot and is lower case."""

    key: str
    extension: str
    content: bytes
    label: str


def write_shard(path: Path, samples: Iterator[PackedSample], num_bytes: int) -> tuple[int, str]:
    """Takes samples until the shard is large enough, and writes it whole or not at all.

    Args:
        path: The shard.
        samples: What is packed; what is left over stays in it. Must have one at least.
        num_bytes: The shard is full when it has as many bytes.

    Returns:
        Number of images in it, and the hash of the file.
    """
    count = 0
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        hashing = _HashingFile(file)
        with tarfile.open(fileobj=hashing, mode="w", format=tarfile.USTAR_FORMAT) as tar:  # type: ignore[call-overload]  # a file that is only written
            for sample in samples:
                _add(tar, sample.key + sample.extension, sample.content)
                _add(tar, f"{sample.key}.cls", label_bytes(sample.label))
                count += 1
                if hashing.position >= num_bytes:
                    break
    return count, hashing.digest()


def file_digest(path: Path) -> str:
    """What `write_shard` gives as the hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _new_hash).hexdigest()


def label_bytes(label: str) -> bytes:
    """The content of a ``.cls`` member; readers take a line break at its end for the editor's, not the label's."""
    return (label + "\n" if label.endswith("\n") else label).encode()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)  # its time, owner and mode are always the same
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _new_hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


class _HashingFile:
    """A file that can only be written, and knows its own hash."""

    def __init__(self, file: IO[bytes]) -> None:
        self.position = 0
        self._file = file
        self._hash = _new_hash()

    def write(self, content: bytes) -> int:
        self._hash.update(content)
        self.position += len(content)
        return self._file.write(content)

    def tell(self) -> int:
        return self.position

    def digest(self) -> str:
        return self._hash.hexdigest()


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
        stems = (_stem(record, root).encode() for record in records)
        digests = b"".join(hashlib.blake2b(stem, digest_size=8).digest() for stem in stems)
        _, inverse, counts = np.unique(np.frombuffer(digests, np.uint64), return_inverse=True, return_counts=True)
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
