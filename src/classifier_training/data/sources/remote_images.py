"""Fetches the images of a listing that are files at an address, so that all that follows reads local files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from classifier_training.data.sources.address import is_remote, join
from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.remote import fetch
from classifier_training.errors import MissingFileError
from classifier_training.types import Progress

if TYPE_CHECKING:
    import pyarrow as pa

_THREADS: Final = 16  # they wait for the network
_AT_ONCE: Final = 4096


def with_local_images(listing: Listing, cache: Path, progress: Progress | None = None) -> Listing:
    """A listing whose images are local copies where they were files at an address.

    An image that has been fetched before is not requested again. One that does not exist keeps its address, and
    fails when it is read.

    Args:
        listing: What a source found.
        cache: The cache folder.
        progress: Reports how many images have been fetched; not called where none is remote.

    Raises:
        DataError: An address cannot be reached, or the cache cannot be written.
    """
    import numpy as np
    import pyarrow as pa

    locations = listing.rows.column("place").combine_chunks()
    is_address = np.array([is_remote(location) for location in locations.dictionary.to_pylist()], bool)
    if not is_address.any():
        return listing
    rows = np.flatnonzero(is_address[locations.indices.to_numpy()])
    new_locations, names = locations.to_pylist(), listing.rows.column("name").to_pylist()
    addresses = [join(new_locations[row], names[row]) for row in rows]
    for done, (row, copy) in enumerate(zip(rows, _fetched(addresses, cache), strict=True), start=1):
        if copy is not None:
            new_locations[row], names[row] = str(copy.parent.parent), f"{copy.parent.name}/{copy.name}"
        if progress is not None:
            progress(done, len(rows))
    table = _replaced(listing.rows, "place", pa.array(new_locations, pa.string()).dictionary_encode())
    return replace(listing, rows=_replaced(table, "name", pa.array(names, pa.string())))


def _fetched(addresses: Sequence[str], cache: Path) -> Iterator[Path | None]:
    """The copy of every file, in order; None where the file does not exist."""

    def copy(address: str) -> Path | None:
        try:
            return fetch(address, cache)
        except MissingFileError:
            return None

    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(addresses), _AT_ONCE):
            yield from pool.map(copy, addresses[start : start + _AT_ONCE])


def _replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
