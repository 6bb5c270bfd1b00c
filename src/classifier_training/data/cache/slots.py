"""Which images a cache holds, in which form, and where in its file each of them lies."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

MAX_RATIO: Final = 16
"""An image whose long side exceeds its short side by more than this is never stored: it is not reduced as a whole."""

_ALIGNMENT: Final = 64  # bytes; a cache line, so that a copy and a checksum start on a whole word
_CHUNK: Final = 1 << 14  # rows; what is computed of them stays in the processor
_SIDE_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class StoredForm:
    """How the images of a cache were made; a cache of another form is another cache.

    Attributes:
        role: What the images are for.
        short_side: Length that longer short sides are reduced to, pixels; None: images are stored as they are.
        interpolation: Filter of the reduction.
        maker: Names the decoder and the reducer, and changes whenever they give other pixels.
    """

    role: Literal["train", "evaluation"]
    short_side: int | None
    interpolation: str
    maker: str


@dataclass(frozen=True, eq=False)
class ImageList:
    """The images of a cache, in the order of their positions.

    Attributes:
        digests: uint8 (N, 16), content hashes.
        widths: int (N,), pixels, of the upright images; 0 for one that is not stored.
        heights: int (N,), pixels.
        form: How they are stored.
    """

    digests: NDArray[np.uint8]
    widths: NDArray[np.integer[Any]]
    heights: NDArray[np.integer[Any]]
    form: StoredForm

    def __len__(self) -> int:
        return len(self.digests)

    @functools.cached_property
    def key(self) -> str:
        """Name of the cache: a hash of the contents, their order, their sizes and the form."""
        about = json.dumps([len(self), sys.byteorder, asdict(self.form)], sort_keys=True)
        digest = hashlib.blake2b(about.encode(), digest_size=16)
        for column, dtype in ((self.digests, np.uint8), (self.widths, np.uint32), (self.heights, np.uint32)):
            for start in range(0, len(column), _CHUNK):
                digest.update(np.ascontiguousarray(column[start : start + _CHUNK], dtype).data)
        return digest.hexdigest()

    @functools.cached_property
    def num_bytes(self) -> int:
        """Bytes of all stored images."""
        return sum(int(_slot_bytes(shorts, longs).sum()) for shorts, longs in self._sides())

    def fitting(self, num_bytes: int) -> tuple[int, int]:
        """How many images, from the first on, fit into ``num_bytes``, and how many bytes they take."""
        if self.num_bytes <= num_bytes:
            return len(self), self.num_bytes
        count = taken = 0
        for shorts, longs in self._sides():
            ends = taken + np.cumsum(_slot_bytes(shorts, longs))
            part = int(np.searchsorted(ends, num_bytes, side="right"))
            count += part
            taken = int(ends[part - 1]) if part else taken
            if part < len(ends):
                break
        return count, taken

    def slots(self) -> Iterator[NDArray[np.int64]]:
        """The table of slots, in parts: int64 (n, 2), where an image begins, and its sides as `unpack_sides` reads.

        One row more than there are images: the last one holds where the last image ends.
        """
        start = taken = 0
        for shorts, longs in self._sides():
            sizes = _slot_bytes(shorts, longs)
            ends = taken + np.cumsum(sizes)
            rows = slice(start, start + len(sizes))
            is_upright = self.widths[rows] <= self.heights[rows]
            heights, widths = np.where(is_upright, longs, shorts), np.where(is_upright, shorts, longs)
            yield np.stack([ends - sizes, (heights << _SIDE_BITS) | widths], axis=1)
            start, taken = rows.stop, int(ends[-1])
        yield np.array([[taken, 0]], np.int64)

    def _sides(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Stored short and long sides, in parts, so that millions of rows take little memory."""
        for start in range(0, len(self), _CHUNK):
            rows = slice(start, start + _CHUNK)
            yield _stored_sides(self.widths[rows], self.heights[rows], self.form.short_side)


def stored_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """Width and height that an image is stored in.

    The short side becomes ``short_side``, the long side ``int(short_side * long / short)``, as in
    `imaging.preprocess.resize_and_crop`. An image that is smaller stays as it is.

    Args:
        width: Pixels, of the upright image.
        height: Pixels.
        short_side: None: stored as it is.

    Returns:
        Width and height, pixels; (0, 0) for an image that is not stored, because one side is more than `MAX_RATIO`
        times the other.

    Example:
        >>> stored_size(500, 375, 256)
        (341, 256)
    """
    short, long = min(width, height), max(width, height)
    if short < 1 or long > MAX_RATIO * short:
        return 0, 0
    if short_side is None or short <= short_side:
        return width, height
    new_long = int(short_side * long / short)
    return (short_side, new_long) if width <= height else (new_long, short_side)


def unpack_sides(sides: int) -> tuple[int, int]:
    """Height and width, pixels, of a slot; (0, 0) for an image that is not stored."""
    return sides >> _SIDE_BITS, sides & ((1 << _SIDE_BITS) - 1)


def find_digests(digests: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where each content hash is among others.

    Args:
        digests: uint8 (N, 16).
        others: uint8 (M, 16), M ≥ 1.

    Returns:
        int64 (N,), positions in ``others``; -1 where it is not among them.
    """
    wanted = np.ascontiguousarray(digests).view(np.uint64)
    there = np.ascontiguousarray(others).view(np.uint64)
    # both in order: millions of searches in random order would take a minute
    order, order_there = np.argsort(wanted[:, 0]), np.argsort(there[:, 0])
    found = np.searchsorted(there[order_there, 0], wanted[order, 0]).clip(max=len(there) - 1)
    positions = np.empty(len(wanted), np.int64)
    positions[order] = order_there[found]
    return np.where((there[positions] == wanted).all(axis=1), positions, -1)


def _stored_sides(
    widths: NDArray[np.integer[Any]], heights: NDArray[np.integer[Any]], short_side: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The short and the long side of `stored_size`, of many images: int64 (n,) each."""
    short, long = np.minimum(widths, heights).astype(np.int64), np.maximum(widths, heights).astype(np.int64)
    is_stored = (short > 0) & (long <= MAX_RATIO * short)
    if short_side is not None:
        is_reduced = short > short_side
        long = np.where(is_reduced, (short_side * long / np.maximum(short, 1)).astype(np.int64), long)
        short = np.minimum(short, short_side)
    return short * is_stored, long * is_stored


def _slot_bytes(shorts: NDArray[np.int64], longs: NDArray[np.int64]) -> NDArray[np.int64]:
    return (shorts * longs * 3 + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
