"""Builds the index of a source once, and finds it again at the next start."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.cache.folder import CACHE_VARIABLE, is_cache_error, one_at_a_time
from classifier_training.data.cache.live import note_use
from classifier_training.data.cache.upkeep import bound_copies
from classifier_training.data.index.check import Facts, current_stamps, inspect_records
from classifier_training.data.index.table import Index, RowRecords, listing_keys, write_index
from classifier_training.data.sources.address import is_remote
from classifier_training.data.sources.detect import list_photos, shown_root
from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.table import Columns
from classifier_training.files.credentials import identity
from classifier_training.imaging.decode import DEFAULT
from classifier_training.types import Decoding, Progress

MAX_FILES_COMPARED: Final = 100_000
"""Up to this many files, each one's size and time of change is compared at every start, which takes half a second.
Of more, only the folders' are; a file that was changed in place is then found when it is read."""
_CLOCK_MARGIN_SECONDS: Final = 0.1


def load_index(
    root: str,
    columns: Columns,
    cache: Path,
    *,
    decoding: Decoding = DEFAULT,
    checking: Progress | None = None,
    scanning: Progress | None = None,
    fetching: Progress | None = None,
    copies_limit: int | None = None,
) -> Index:
    """The index of a source: the stored one where nothing has changed since, else a new one.

    Args:
        root: The source, an absolute path or an address.
        columns: Names of a table's columns.
        cache: The cache folder; where it cannot be written, the index is rebuilt at every start.
        decoding: What to do about large, transparent and deep images.
        checking: Reports how many images have been checked.
        scanning: Reports how many folders or shards have been scanned.
        fetching: Reports how many remote images have been fetched.
        copies_limit: See `bound_copies`, which is called when the index is new or the limit is given.

    Raises:
        DataError: The source cannot be listed.
    """
    path = cache / "index" / f"{_name(root, columns, decoding)}.arrow"
    find = functools.partial(list_photos, root, columns, cache=cache, scanning=scanning, fetching=fetching)
    index, is_new = _current(path, root, decoding), False
    if index is None:
        try:
            index, is_new = _build_once(path, root, find, decoding, checking)
        except OSError as error:
            if not is_cache_error(error, cache):
                raise
            return _build(_elsewhere(cache, error) / path.name, find, _open(path), decoding, checking, shown_root(root))
    if checking is not None and not is_new:
        checking(len(index), len(index))
    _look_after_cache(cache, index, copies_limit, is_new=is_new)
    return index


def _look_after_cache(cache: Path, index: Index, copies_limit: int | None, *, is_new: bool) -> None:
    """Notes the use of the index and of what was unpacked or fetched for it, and removes the rest above the limit."""
    note_use(index.path, cache)
    for location, *_ in index.metadata["watched"]:
        if Path(location).is_relative_to(cache):
            note_use(Path(location).parent, cache)
    if is_new or copies_limit is not None:  # a stored index takes no room, but the limit may be a new one
        with contextlib.suppress(OSError):  # another process may remove the same
            bound_copies(cache, copies_limit)


def _build_once(
    path: Path, root: str, find: Callable[[], Listing], decoding: Decoding, checking: Progress | None
) -> tuple[Index, bool]:
    """The index, and whether this process has built it: the others wait, instead of reading all images as well."""
    with one_at_a_time(path):
        index = _current(path, root, decoding)
        is_new = index is None
        return index or _build(path, find, _open(path), decoding, checking, shown_root(root)), is_new


def _build(
    path: Path,
    find: Callable[[], Listing],
    stored: Index | None,
    decoding: Decoding,
    checking: Progress | None,
    photos: str,
) -> Index:
    """Lists and checks all images, and writes their index; what the stored one knows of them is taken from it."""
    started = time.time_ns()  # anything that changes from now on makes the index old
    listing = find()
    facts = _inspect(path, listing, stored, decoding, checking)
    watched = [[watched, *_state(watched)] for watched in listing.watched]
    write_index(path, listing, facts, watched=watched, made_at_ns=started, photos=photos)
    for old in path.parent.glob(f"{path.stem}.*.splits.npz"):  # of the index before
        old.unlink(missing_ok=True)
    return Index(path)


def _current(path: Path, root: str, decoding: Decoding) -> Index | None:
    """The stored index, if nothing has changed since it was built."""
    # an address cannot be watched: it is listed again, but what was fetched is not fetched again
    index = None if is_remote(root) else _open(path)
    return index if index is not None and _is_current(index) and _are_still_bad(index, decoding) else None


def _elsewhere(cache: Path, error: OSError) -> Path:
    """A folder for the index of this process alone, where the cache folder cannot be written."""
    warnings.warn(
        f"the cache folder {cache} cannot be written ({error.strerror}): all photos are checked at every start;"
        f" name another one with data.cache_dir or {CACHE_VARIABLE}",
        stacklevel=3,
    )
    folder = Path(tempfile.mkdtemp(prefix="classifier-training-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _inspect(
    path: Path, listing: Listing, stored: Index | None, decoding: Decoding, progress: Progress | None
) -> Facts:
    """The facts of all images; those of files that the stored index knows are taken from it."""
    # the rows are read from a file too, so that they take no memory while the images are read
    count = listing.rows.num_rows
    unchecked = path.with_name(f".{path.name}.rows.tmp")  # the next start removes what a killed process leaves
    write_index(unchecked, listing, Facts.empty(count))
    try:
        records = RowRecords(Index(unchecked), np.arange(count))
        facts = Facts.empty(count)
        known = None if stored is None else _known(listing, stored, facts)
        return inspect_records(records, progress, known, facts, decoding=decoding)
    finally:
        unchecked.unlink()


def _known(listing: Listing, stored: Index, facts: Facts) -> Callable[[int, int], bool]:
    """Copies what the stored index knows, where the file has not changed."""
    import pyarrow.compute as pc

    found: NDArray[Any] = (
        pc.fill_null(pc.index_in(listing_keys(listing.rows), stored.keys()), -1).combine_chunks().to_numpy()
    )
    stamps, identities, widths, heights = stored.stamps, stored.identities, stored.widths, stored.heights
    digests, modes, flat = stored.digests, stored.modes, stored.flat

    def copy(position: int, stamp: int) -> bool:
        row = found[position]
        if row < 0 or stamps[row] != stamp or widths[row] == 0:  # 0: it was not readable then, and may be now
            return False
        if identities[row] != facts.identities[position]:
            return False
        facts.stamps[position], facts.digests[position] = stamp, digests[row]
        facts.widths[position], facts.heights[position] = widths[row], heights[row]
        facts.modes[position], facts.flat[position] = modes[row], flat[row]
        return True

    return copy


def _name(root: str, columns: Columns, decoding: Decoding) -> str:
    text = json.dumps([identity(root) if is_remote(root) else root, asdict(columns), *asdict(decoding).values()])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _open(path: Path) -> Index | None:
    """The stored index, if it can be read."""
    try:
        index = Index(path)
    except (OSError, ValueError):  # pyarrow's errors are among them
        return None
    return index if "watched" in index.metadata else None


def _is_current(index: Index) -> bool:
    """Whether no folder, table or image has changed since the index was built."""
    latest = index.metadata["made_at_ns"] - int(_CLOCK_MARGIN_SECONDS * 1e9)
    for location, changed_at, size in index.metadata["watched"]:
        # within the clock's resolution there could have been another change
        if _state(location) != (changed_at, size) or changed_at > latest:
            return False
    if len(index) > MAX_FILES_COMPARED:
        return True
    shards: dict[str, tuple[int, int]] = {}  # a shard's stamps are those of thousands of rows
    records, stored = RowRecords(index, np.arange(len(index))), zip(index.stamps, index.identities, strict=True)
    for record, stamps in zip(records, stored, strict=True):
        if record.member and record.path not in shards:
            shards[record.path] = current_stamps(record.path)
        if stamps != (shards[record.path] if record.member else current_stamps(record.path)):
            return False
    return True


def _are_still_bad(index: Index, decoding: Decoding) -> bool:
    """Whether the files that were not images are none now, for the same reasons: they are read again at every start.

    What made them unreadable may be over without a trace in the file: access rights of a folder above, a disk, a
    network, a decoder that is newer.
    """
    errors = index.errors
    if not errors:
        return True
    rows = np.array(sorted(errors))
    found = inspect_records(RowRecords(index, rows), decoding=decoding).errors
    return found == {position: errors[row] for position, row in enumerate(rows.tolist())}


def _state(location: str) -> tuple[int, int]:
    """Time of change and size of a file or folder; of one that is missing, zeros."""
    try:
        status = os.stat(location)  # noqa: PTH116 - thousands of folders
    except OSError:
        return 0, 0
    is_folder = os.path.isdir(location)  # noqa: PTH112 - as above
    return status.st_mtime_ns, 0 if is_folder else status.st_size
