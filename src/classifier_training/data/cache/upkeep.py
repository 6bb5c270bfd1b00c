"""What the cache folder holds, what of it is not used any more, and how that is removed."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from classifier_training.data.cache.live import used_since
from classifier_training.data.cache.locations import CHOSEN_SHARE
from classifier_training.data.cache.store import OLD, CacheStore, remove_folder
from classifier_training.data.cache.users import is_used

Kind = Literal["images", "index", "remote", "unpacked", "features"]
KINDS: Final[dict[Kind, str]] = {
    "images": "decoded images",
    "index": "indices and splits",
    "remote": "copies of remote files",
    "unpacked": "images of Parquet files",
    "features": "features of images",
}
"""What there is in the cache folder, as it is called in messages."""
IMAGES_FOLDER: Final = "pictures"  # as in version 0.1
FEATURES_FOLDER: Final = "features"
PACK_ENDING: Final = ".pictures"
"""Of the images of a Parquet file; as in version 0.1, as the split.csv of its runs has this name."""
PHOTOS_FILE: Final = "photos.txt"
_BOUNDED: Final[tuple[Kind, ...]] = ("index", "remote", "unpacked", "features")
_MARGIN_SECONDS: Final = 2.0  # file systems count whole seconds, some of them two


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One thing in the cache folder that is removed as a whole.

    Attributes:
        kind: What it is.
        path: Its file or folder.
        num_bytes: What it takes.
        used_at: When it was last used, seconds since 1970.
        is_used: Whether a running process may use it.
    """

    kind: Kind
    path: Path
    num_bytes: int
    used_at: float
    is_used: bool


def cache_entries(cache: Path, kinds: Iterable[Kind] = tuple(KINDS)) -> list[CacheEntry]:
    """What the cache folder holds, what was used longest ago first."""
    since = used_since(cache)
    found = [entry for kind in kinds for entry in _FINDERS[kind](cache, since)]
    return sorted(found, key=lambda entry: (entry.used_at, entry.path))


def remove_entries(cache: Path, entries: Iterable[CacheEntry]) -> list[CacheEntry]:
    """Removes what no running process uses; returns what is gone."""
    removed = []
    store = CacheStore(cache / IMAGES_FOLDER)
    for left in cache.glob(f"*/{OLD}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    for entry in entries:
        if entry.is_used:
            continue
        if entry.kind == "images":
            with store.locked():
                is_gone = not is_used(entry.path) and store.remove(entry.path)
        else:
            is_gone = _remove_index(entry.path) if entry.kind == "index" else remove_folder(entry.path)
        if is_gone:
            removed.append(entry)
    return removed


def bound_copies(cache: Path, limit: int | None) -> list[CacheEntry]:
    """Removes copies, indices and features that were used longest ago until all of them take no more than a limit.

    Args:
        cache: The cache folder.
        limit: Bytes; None: a share of what is free without them.

    Returns:
        What was removed. What a running process uses is kept, even if it takes more than the limit.
    """
    entries = cache_entries(cache, _BOUNDED)
    total = sum(entry.num_bytes for entry in entries)
    limit = _allowed(cache, total, limit)
    removed: list[CacheEntry] = []
    for entry in entries:
        if total <= limit:
            break
        gone = remove_entries(cache, [entry])
        removed += gone
        total -= sum(one.num_bytes for one in gone)
    return removed


def room_for_copies(cache: Path, limit: int | None) -> int:
    """Bytes that one entry may take, as others give way to what is used; arguments as of `bound_copies`."""
    return _allowed(cache, sum(entry.num_bytes for entry in cache_entries(cache, _BOUNDED)), limit)


def _allowed(cache: Path, total: int, limit: int | None) -> int:
    return int((shutil.disk_usage(cache).free + total) * CHOSEN_SHARE) if limit is None else limit


def photos_of(cache: Path) -> dict[Path, str]:
    """Of which photos each entry is, human-readable; a copy that no index knows is of the file that it is."""
    from classifier_training.data.index.table import Index

    photos: dict[Path, str] = {}
    for folder in _subfolders(cache / IMAGES_FOLDER):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            photos[folder] = (folder / PHOTOS_FILE).read_text(encoding="utf-8").strip()
    for path in (cache / "index").glob("*.arrow"):
        with contextlib.suppress(OSError, ValueError, ImportError, KeyError):
            index = Index(path)
            photos[path] = str(index.metadata["photos"])
            for entry in index.folders_below(cache):
                photos.setdefault(entry, photos[path])
    for folder in [folder for kind in ("unpacked", "remote", FEATURES_FOLDER) for folder in _subfolders(cache / kind)]:
        if folder not in photos:
            photos.update(_named_in(folder))
    return photos


def _named_in(folder: Path) -> dict[Path, str]:
    """Of which file the copy in a folder is: as it is written there, else by the name of the copy."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return {folder: (folder / PHOTOS_FILE).read_text(encoding="utf-8").strip()}
    with contextlib.suppress(OSError):
        names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
        packs = [f"{name.removesuffix(PACK_ENDING)}.parquet" for name in names if name.endswith(PACK_ENDING)]
        return {folder: [*packs, *names][0]} if names else {}
    return {}


def _images(cache: Path, since: float | None) -> Iterator[CacheEntry]:  # noqa: ARG001 - each has users of its own
    store = CacheStore(cache / IMAGES_FOLDER)
    if store.folder.is_dir():
        for one in store.stored():
            used = is_used(one.folder)
            yield CacheEntry("images", one.folder, one.num_bytes_now, one.used_at_ns / 1e9, used)


def _indices(cache: Path, since: float | None) -> Iterator[CacheEntry]:
    for path in (cache / "index").glob("*.arrow"):
        with contextlib.suppress(OSError):
            num_bytes = sum(file.stat().st_size for file in _index_files(path))
            yield _entry("index", path, num_bytes, since)


def _folders(kind: Kind) -> Callable[[Path, float | None], Iterator[CacheEntry]]:
    def find(cache: Path, since: float | None) -> Iterator[CacheEntry]:
        for folder in _subfolders(cache / kind):
            with contextlib.suppress(OSError):
                num_bytes = sum(entry.stat().st_size for entry in os.scandir(folder))
                yield _entry(kind, folder, num_bytes, since)

    return find


_FINDERS: Final[dict[Kind, Callable[[Path, float | None], Iterator[CacheEntry]]]] = {
    "images": _images,
    "index": _indices,
    "remote": _folders("remote"),
    "unpacked": _folders("unpacked"),
    "features": _folders("features"),
}


def _entry(kind: Kind, path: Path, num_bytes: int, since: float | None) -> CacheEntry:
    used_at = path.stat().st_mtime
    is_in_use = since is not None and used_at >= since - _MARGIN_SECONDS
    return CacheEntry(kind, path, num_bytes, min(used_at, time.time()), is_in_use)


def _subfolders(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []


def _index_files(path: Path) -> list[Path]:
    return [path, *path.parent.glob(f"{path.stem}.*.splits.npz")]


def _remove_index(path: Path) -> bool:
    try:
        for file in _index_files(path):
            file.unlink(missing_ok=True)
    except OSError:
        return False
    return True
