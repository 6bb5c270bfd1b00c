"""The folder of all image caches: how one is made whole or not at all, what they take, and which are removed."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.cache.files import (
    CHECKS_FILE,
    DIGESTS_FILE,
    EARLIER_FILE,
    PIXELS_FILE,
    SLOTS_FILE,
    SOURCES_FILE,
    is_end_of_image,
)
from classifier_training.data.cache.slots import ImageList, find_digests
from classifier_training.data.cache.users import is_used
from classifier_training.files.atomic import write_json

_LOCK_FILE: Final = ".lock"
_LOCK_SECONDS: Final = 300.0
OLD: Final = ".old-"  # how the name of a folder begins that is being removed
_BLOCK_BYTES: Final = 512
FORMAT_VERSION: Final = 1
META_FILE: Final = "meta.json"
_ROW_BYTES: Final = 64  # an image's slot, checksum, content hash and source, and the marks of some runs
_META_BYTES: Final = 1024
_NEW: Final = ".new-"  # how the name of a folder begins that is being made


@dataclass(frozen=True, slots=True)
class StoredCache:
    """A cache that lies in a store.

    Attributes:
        folder: Where.
        num_bytes: What it may grow to.
        num_bytes_now: What it takes now.
        used_at_ns: When it was last opened.
    """

    folder: Path
    num_bytes: int
    num_bytes_now: int
    used_at_ns: int


class CacheStore:
    """All image caches in one folder. Whoever makes, opens or removes one holds the lock; storing needs none.

    Args:
        folder: Is made when it is locked for the first time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lets one process at a time in.

        Raises:
            OSError: The folder cannot be made or written, or another process holds it for minutes.
        """
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / _LOCK_FILE, timeout=_LOCK_SECONDS):
            yield

    def clean(self) -> None:
        """Removes what a killed process left half made or half removed."""
        for path in self.folder.iterdir():
            if path.name.startswith((_NEW, OLD)):
                shutil.rmtree(path, ignore_errors=True)

    def stored(self) -> list[StoredCache]:
        """All caches, the one that was used longest ago first."""
        folders = (path for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        return sorted(map(_look_at, folders), key=lambda cache: (cache.used_at_ns, cache.folder))

    def num_bytes_now(self) -> int:
        """What all caches take at the moment."""
        return sum(cache.num_bytes_now for cache in self.stored())

    def num_bytes_in_use(self, but: Path) -> int:
        """What the caches that runs use may grow to, all but one."""
        return sum(cache.num_bytes for cache in self.stored() if cache.folder != but and is_used(cache.folder))

    def remove_unused(self, allowed: int, but: Path | None = None) -> list[Path]:
        """Removes caches that nobody uses, oldest use first, until those that are left may grow to ``allowed`` bytes.

        Args:
            allowed: Bytes.
            but: Is neither counted nor removed.

        Returns:
            What was removed.
        """
        removed = []
        caches = [cache for cache in self.stored() if cache.folder != but]
        total = sum(cache.num_bytes for cache in caches)
        for cache in caches:
            if total > allowed and not is_used(cache.folder) and self.remove(cache.folder):
                removed.append(cache.folder)
                total -= cache.num_bytes
        return removed

    def remove(self, folder: Path) -> bool:
        """Removes a cache; see `remove_folder`."""
        return remove_folder(folder)


def remove_folder(folder: Path) -> bool:
    """Removes a folder of the cache at once; False where the system does not let it go.

    Who has its files open keeps what is open.
    """
    old = folder.with_name(f"{OLD}{secrets.token_hex(8)}")
    try:
        folder.rename(old)
    except OSError:
        return False
    shutil.rmtree(old, ignore_errors=True)
    return True


def _look_at(folder: Path) -> StoredCache:
    statuses = {path.name: path.stat() for path in folder.iterdir() if path.is_file()}
    return StoredCache(
        folder,
        num_bytes=sum(status.st_size for status in statuses.values()),
        # a file with holes takes less than its length; Windows does not say how much
        num_bytes_now=sum(
            status.st_blocks * _BLOCK_BYTES if hasattr(status, "st_blocks") else status.st_size
            for status in statuses.values()
        ),
        used_at_ns=statuses[META_FILE].st_mtime_ns if META_FILE in statuses else 0,
    )


def make_cache(folder: Path, images: ImageList, room: int, others: Sequence[Path] = ()) -> None:
    """Makes an empty cache.

    Args:
        folder: Where.
        images: What will be stored.
        room: Bytes for pixels, up to the end of an image; those behind it are not stored.
        others: Caches next to it; images are taken over from the first one of the same form that has some of them.

    Raises:
        OSError: The disk is full or read-only.
    """
    new = folder.with_name(f"{_NEW}{secrets.token_hex(8)}")
    try:
        new.mkdir()
        _write(new / SLOTS_FILE, images.slots())
        # zeros, not a hole: to read the memory of a hole takes memory where the file itself is in memory
        _write(new / CHECKS_FILE, [np.zeros(len(images), np.uint64)])
        _write(new / DIGESTS_FILE, [images.digests])
        _link_earlier(new, images, others)
        _set_length(new / PIXELS_FILE, room)
        write_json(new / META_FILE, {"format": FORMAT_VERSION, "form": asdict(images.form)})
        _rename_into_place(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def grow_cache(folder: Path, room: int) -> None:
    """Gives a cache room for more images. It never gets less: the memory of its readers would vanish.

    Raises:
        OSError: The disk is read-only.
    """
    if room > room_of(folder):
        _set_length(folder / PIXELS_FILE, room)


def table_bytes(folder: Path, count: int) -> int:
    """What a cache of ``count`` images takes besides their pixels; at most, if it does not exist."""
    if not folder.exists():
        return _ROW_BYTES * count + _META_BYTES
    return sum(_length(path) for path in folder.iterdir() if path.is_file()) - room_of(folder)


def room_of(folder: Path) -> int:
    """Bytes that a cache has for pixels, used or not."""
    return _length(folder / PIXELS_FILE)


def touch_cache(folder: Path) -> None:
    """Notes that a cache is used now; the one that was used longest ago is the first to go."""
    os.utime(folder / META_FILE)


def cache_problem(folder: Path, images: ImageList) -> str | None:
    """Why a cache that exists cannot be used; None for one that can."""
    meta = _read_meta(folder)
    if meta is None:
        return f"its {META_FILE} cannot be read"
    if meta.get("format") != FORMAT_VERSION:
        return f"it is of format {meta.get('format')}, not {FORMAT_VERSION}"
    lengths = {SLOTS_FILE: 16 * len(images) + 16, CHECKS_FILE: 8 * len(images)}
    for name, length in lengths.items():
        if _length(folder / name) != length:
            return f"its {name} has {_length(folder / name)} bytes, not {length}"
    room = room_of(folder)
    if room == 0 or not is_end_of_image(folder, room):
        return f"its {PIXELS_FILE} has {room} bytes, which is not the end of an image"
    return None


def _link_earlier(new: Path, images: ImageList, others: Sequence[Path]) -> None:
    """Notes which images can be taken over from another cache."""
    for folder in others:
        meta = _read_meta(folder) or {}
        if meta.get("format") != FORMAT_VERSION or meta.get("form") != asdict(images.form):
            continue
        with contextlib.suppress(OSError, ValueError):
            there = np.fromfile(folder / DIGESTS_FILE, np.uint8).reshape(-1, images.digests.shape[1])
            sources = find_digests(images.digests, there)
            if (sources >= 0).any():
                _write(new / SOURCES_FILE, [sources])
                (new / EARLIER_FILE).write_text(folder.name, encoding="utf-8")
                return


def _write(path: Path, parts: Iterable[NDArray[Any]]) -> None:
    """Writes arrays one behind the other, and waits until they are on the disk."""
    with path.open("wb") as file:
        for part in parts:
            file.write(np.ascontiguousarray(part).data)
        file.flush()
        os.fsync(file.fileno())


def _set_length(path: Path, length: int) -> None:
    with path.open("ab") as file:
        file.truncate(length)


def _rename_into_place(new: Path, folder: Path) -> None:
    try:
        new.rename(folder)
    except OSError:
        if not folder.is_dir():  # where locks do nothing, as on some network disks, another process may be faster
            raise


def _read_meta(folder: Path) -> dict[str, Any] | None:
    try:
        meta = json.loads((folder / META_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return meta if isinstance(meta, dict) else None


def _length(path: Path) -> int:
    """Bytes of a file; 0 for a missing one."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
