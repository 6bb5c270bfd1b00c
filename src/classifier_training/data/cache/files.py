"""The files of one image cache: where each image lies, its pixels, and a checksum that shows whether it is stored.

``slots.bin`` holds where in ``pixels.bin`` each image lies, ``checks.bin`` holds one checksum an image, 0 before it
is stored. The checksum is written after the pixels and compared by the first reader, so a process may be killed, and
a disk may fill up or fail, at any moment: what is not whole counts as missing.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.cache.mapped_file import WritableFile, map_file
from classifier_training.data.cache.slots import unpack_sides

SLOTS_FILE: Final = "slots.bin"
CHECKS_FILE: Final = "checks.bin"
PIXELS_FILE: Final = "pixels.bin"
DIGESTS_FILE: Final = "digests.bin"
SOURCES_FILE: Final = "sources.bin"
"""Where each image lies in an earlier cache; -1: not in it. Missing where no cache was taken over."""
EARLIER_FILE: Final = "earlier.txt"
"""Name of the earlier cache's folder, next to this one."""

_WORD_BYTES: Final = 8
# A prime number, so that blocks and pages that were swapped end up in other columns, and the sums differ.
_WORDS_A_ROW: Final = 251


class CacheFiles:
    """The open files of one cache in one process.

    Args:
        folder: The cache.
        with_earlier: Open the cache that images are taken over from as well, if there is one.

    Raises:
        OSError: A file is missing or cannot be read.
        ValueError: A file is empty, or has not the length of the others.
    """

    def __init__(self, folder: Path, *, with_earlier: bool = True) -> None:
        self.folder = folder
        self.checks = memoryview(map_file(folder / CHECKS_FILE)).cast("Q")
        self._slots = memoryview(map_file(folder / SLOTS_FILE)).cast("q")
        self._pixels = map_file(folder / PIXELS_FILE)
        self._num_bytes = len(self._pixels)
        if len(self._slots) != 2 * len(self.checks) + 2:
            raise ValueError(f"{folder} holds tables of different lengths")
        self.has_earlier = with_earlier and (folder / SOURCES_FILE).exists()

    def view(self, position: int) -> NDArray[np.uint8] | None:
        """The slot of an image: uint8 (H, W, 3), read-only; None where there is no room for it."""
        offset = self._slots[2 * position]
        height, width = unpack_sides(self._slots[2 * position + 1])
        if height <= 0 or not 0 <= offset <= self._num_bytes - height * width * 3:
            return None
        return np.ndarray((height, width, 3), np.uint8, self._pixels, offset)

    def is_good(self, position: int) -> bool:
        """Whether an image is stored and undamaged."""
        pixels = self.view(position)
        return pixels is not None and checksum(pixels, position) == self.checks[position]

    def write(self, position: int, pixels: NDArray[np.uint8]) -> None:
        """Stores an image of the size that `view` has; the checksum last, as only that makes it count.

        Raises:
            OSError: The disk is full or read-only.
        """
        pixels = np.ascontiguousarray(pixels)
        to_pixels, to_checks = self._writable
        to_pixels.write_at(self._slots[2 * position], pixels.data.cast("B"))
        check = checksum(pixels, position).to_bytes(_WORD_BYTES, sys.byteorder)
        to_checks.write_at(_WORD_BYTES * position, check)

    def earlier_image(self, position: int) -> NDArray[np.uint8] | None:
        """An image of the earlier cache; None where it is missing or damaged, or that cache has been removed."""
        earlier = self._earlier
        if earlier is None:
            return None
        sources, files = earlier
        source = sources[position]
        return files.view(source) if source >= 0 and files.is_good(source) else None

    def storable(self) -> NDArray[np.int64]:
        """int64 (n,), the positions of the images that there is room for."""
        table = np.asarray(self._slots).reshape(-1, 2)
        has_room = (table[:-1, 1] != 0) & (table[1:, 0] <= self._num_bytes)
        return np.flatnonzero(has_room)

    @functools.cached_property
    def _writable(self) -> tuple[WritableFile, WritableFile]:
        return WritableFile(self.folder / PIXELS_FILE), WritableFile(self.folder / CHECKS_FILE)

    @functools.cached_property
    def _earlier(self) -> tuple[memoryview, CacheFiles] | None:
        try:
            name = (self.folder / EARLIER_FILE).read_text(encoding="utf-8")
            sources = memoryview(map_file(self.folder / SOURCES_FILE)).cast("q")
            return sources, CacheFiles(self.folder.parent / name, with_earlier=False)
        except (OSError, ValueError):
            return None


def checksum(pixels: NDArray[np.uint8], position: int) -> int:
    """A checksum of an image and of where it belongs, 10 µs for 256 x 340 pixels.

    The bytes are seen as rows of 251 words, the columns summed up, and the sums hashed.

    Args:
        pixels: uint8 (H, W, 3), C-contiguous.
        position: Its position in the list.

    Returns:
        64 bits that are not all zero.
    """
    content = pixels.reshape(-1)
    row_bytes = _WORDS_A_ROW * _WORD_BYTES
    whole = content.size // row_bytes * row_bytes
    rows = content[:whole].view(np.uint64).reshape(-1, _WORDS_A_ROW)
    digest = hashlib.blake2b(rows.sum(axis=0, dtype=np.uint64), digest_size=_WORD_BYTES)
    digest.update(content[whole:].data)
    digest.update(b"%d %d %d" % (position, *pixels.shape[:2]))
    return int.from_bytes(digest.digest(), "little") or 1


def is_end_of_image(folder: Path, length: int) -> bool:
    """Whether the pixels of a cache may take so many bytes, above 0: up to the end of some image."""
    slots = memoryview(map_file(folder / SLOTS_FILE)).cast("q")
    row = bisect.bisect_left(range(len(slots) // 2), length, key=lambda row: slots[2 * row])
    return 2 * row < len(slots) and slots[2 * row] == length
