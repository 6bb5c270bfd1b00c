"""Local copies of the images of a listing that lie at addresses, each of the version that is there now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from classifier_training.data.sources.address import is_remote, join, shown, split_address
from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.remote import copy_path, current_copies, fetch
from classifier_training.errors import DataError, MissingFileError
from classifier_training.types import Progress

if TYPE_CHECKING:
    import pyarrow as pa

_THREADS: Final = 16  # they wait for the network
_AT_ONCE: Final = 4096


def with_local_images(
    listing: Listing, cache: Path, progress: Progress | None = None, *, named_by: str | None = None, opened_by: str = ""
) -> Listing:
    """A listing whose images are local copies where they were files at an address.

    An image that has been fetched before is fetched again where there is another version of it at its address: a store
    is asked by one listing a folder, a web server by one request an image. Where none can be reached, the copies are
    used as they are, with a warning. An image that does not exist keeps its address, and fails when it is read.

    Args:
        listing: The listing.
        cache: The cache folder.
        progress: Reports how many have been fetched; not called where none is remote.
        named_by: As of `fetch`.
        opened_by: As of `fetch`.

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
    fetcher = _Fetcher(cache, named_by, opened_by)
    for done, (row, copy) in enumerate(zip(rows, fetcher.fetched(addresses), strict=True), start=1):
        if copy is None:
            new_locations[row], names[row] = split_address(shown(addresses[done - 1]))
        else:
            new_locations[row], names[row] = str(copy.parent.parent), f"{copy.parent.name}/{copy.name}"
        if progress is not None:
            progress(done, len(rows))
    table = _replaced(listing.rows, "place", pa.array(new_locations, pa.string()).dictionary_encode())
    rows_now = _replaced(table, "name", pa.array(names, pa.string()))
    return replace(listing, rows=rows_now, warnings=[*listing.warnings, *fetcher.warnings()])


class _Fetcher:
    """Fetches many files; once an address that has a copy cannot be reached, the other copies are used unasked."""

    def __init__(self, cache: Path, named_by: str | None, opened_by: str) -> None:
        self._cache = cache
        self._named_by = named_by
        self._opened_by = opened_by
        self._unreachable: list[str] = []
        self._num_unasked = 0

    def fetched(self, addresses: Sequence[str]) -> Iterator[Path | None]:
        """The copy of every file, in order; None where the file does not exist."""
        with ThreadPoolExecutor(_THREADS) as pool:
            for start in range(0, len(addresses), _AT_ONCE):
                some = addresses[start : start + _AT_ONCE]
                current = self._current(some)
                yield from pool.map(lambda address: self._copy(address, address in current), some)  # noqa: B023 - at once

    def warnings(self) -> list[str]:
        """That copies could not be compared with what lies at their addresses."""
        if not self._unreachable:
            return []
        first = self._unreachable[0]
        count = f"{self._num_unasked} remote image(s)"
        return [f"{count} are used as they were fetched before, as their addresses cannot be reached now: {first}"]

    def _current(self, addresses: Sequence[str]) -> set[str]:
        """Those whose copies are of the current version, by listings of their folders."""
        by_folder: dict[str, list[str]] = {}
        for address in addresses:
            if copy_path(address, self._cache, self._opened_by).is_file():
                folder, name = split_address(address)
                by_folder.setdefault(folder, []).append(name)
        worth_it = {folder: names for folder, names in by_folder.items() if len(names) > 1}
        return {
            join(folder, name)
            for folder, names in worth_it.items()
            for name in current_copies(folder, names, self._cache, self._opened_by)
        }

    def _copy(self, address: str, is_current: bool) -> Path | None:
        copy = copy_path(address, self._cache, self._opened_by)
        has_copy = copy.is_file()
        if has_copy and self._unreachable:
            self._num_unasked += 1
        try:
            return fetch(
                address,
                self._cache,
                revalidate=not is_current and not (has_copy and self._unreachable),
                named_by=self._named_by,
                opened_by=self._opened_by,
            )
        except MissingFileError:
            return None
        except DataError as error:
            if not has_copy:
                raise
            self._unreachable.append(str(error))
            self._num_unasked += 1
            return copy


def _replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
