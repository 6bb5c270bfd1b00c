"""Decoded images that all processes of all runs on a machine share, as memory-mapped files.

Processes that store the same image write the same bytes to the same slot, so nothing is locked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.cache.files import CacheFiles
from classifier_training.data.cache.marks import DAMAGED, GOOD, MISFIT, REPAIRED, CacheMarks
from classifier_training.types import ImageRecord, Progress

_WHOLE: Final = frozenset({GOOD, REPAIRED})
_AT_ONCE: Final = 1024  # how many images are waiting for a thread: few, so that millions take no memory


class ImageCache:
    """The stored images of one list. Every process opens it when it first needs it; pickles as paths.

    Args:
        folder: The cache.
        marks: What the processes of this run know of its images.
        may_write: Whether images may be stored.

    Attributes:
        records: Where the N images come from: one whose file has changed is not taken from the cache; each is looked at
            once a run. None: they are not looked at.
    """

    def __init__(self, folder: Path, marks: CacheMarks, *, may_write: bool = True) -> None:
        self.folder = folder
        self.marks = marks
        self.may_write = may_write
        self.records: Sequence[ImageRecord] | None = None
        self._files: CacheFiles | None = None
        self._is_gone = False
        self._num_reported = {DAMAGED: 0, MISFIT: 0}
        self._has_reported_stop = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": None}

    def __len__(self) -> int:
        return self.marks.count

    def get(self, position: int) -> NDArray[np.uint8] | None:
        """One image.

        Args:
            position: Its position in the list, in [0, N).

        Returns:
            uint8 (H, W, 3), RGB, the read-only memory of the file; None for one that is not stored, or is damaged.
        """
        files = self._files or self._open()
        if files is None:
            return None
        mark = self.marks[position]
        if mark not in _WHOLE and not self._is_current(position):
            return None  # reading the file says so
        if not files.checks[position]:
            return self._take_over(position, files) if files.has_earlier else None
        if mark not in _WHOLE:
            if not files.is_good(position):
                self.marks[position] = DAMAGED
                return None
            self.marks[position] = REPAIRED if mark == DAMAGED else GOOD
        return files.view(position)

    def put(self, position: int, pixels: NDArray[np.uint8]) -> None:
        """Stores one image, if it belongs here and there is room; a full disk is not an error and ends the filling.

        Args:
            position: Its position in the list, in [0, N).
            pixels: uint8 (H, W, 3), RGB, of the size that `slots.stored_size` gives.
        """
        files = self._files or self._open()
        if files is None or not self.may_write or self.marks.error:
            return
        slot = files.view(position)
        if slot is None:
            return
        if pixels.shape != slot.shape or pixels.dtype != np.uint8:
            self.marks[position] = MISFIT
            return
        try:
            files.write(position, pixels)
        except OSError as error:
            self.marks.stop(error)
        else:
            self.marks[position] = REPAIRED if self.marks[position] in {DAMAGED, REPAIRED} else GOOD

    def storable(self) -> NDArray[np.int64]:
        """int64 (n,), the positions of the images that there is room for, stored already or not."""
        files = self._files or self._open()
        return np.zeros(0, np.int64) if files is None else files.storable()

    def num_stored(self) -> int:
        """How many images are stored, damaged ones included."""
        files = self._files or self._open()
        return 0 if files is None else int(np.count_nonzero(np.asarray(files.checks)))

    def new_warnings(self) -> list[str]:
        """What went wrong in any process of this run since the last call, as messages."""
        messages = []
        if self.marks.error and not self._has_reported_stop:
            self._has_reported_stop = True
            messages.append(
                f"image cache {self.folder}: no more images are stored ({os.strerror(self.marks.error)});"
                f" {self.num_stored()} of {len(self)} are stored, the others are decoded every time"
            )
        counts = {DAMAGED: len(self.marks.positions(DAMAGED, REPAIRED)), MISFIT: len(self.marks.positions(MISFIT))}
        texts = {
            DAMAGED: "stored image(s) were damaged, and are stored again",
            MISFIT: "image(s) have another size than when they were listed, and are not stored",
        }
        for mark, count in counts.items():
            if count > self._num_reported[mark]:
                messages.append(f"image cache {self.folder}: {count - self._num_reported[mark]} {texts[mark]}")
                self._num_reported[mark] = count
        return messages

    def close(self) -> None:
        """Closes the files; what `get` gave stays valid."""
        self._files = None

    def _is_current(self, position: int) -> bool:
        return self.records is None or self.records[position].is_unchanged()

    def _take_over(self, position: int, files: CacheFiles) -> NDArray[np.uint8] | None:
        pixels = files.earlier_image(position)
        if pixels is not None:
            self.put(position, pixels)
        return pixels

    def _open(self) -> CacheFiles | None:
        """None where the cache was removed; images are then read from their files."""
        if not self._is_gone:
            try:
                self._files = CacheFiles(self.folder)
            except (OSError, ValueError) as error:
                self._is_gone = True
                self.marks.stop(error)
        return self._files


def fill_cache(
    cache: ImageCache,
    make: Callable[[int], NDArray[np.uint8]],
    progress: Progress | None = None,
    num_threads: int | None = None,
) -> int:
    """Stores every image that is not stored yet; an interrupted filling continues where it stopped.

    It ends early where the cache takes no more; `ImageCache.new_warnings` explains why.

    Args:
        cache: What is filled.
        make: Gives the image of a position, uint8 (H, W, 3), in its stored size; called in threads. When it
            raises, what was stored before is kept.
        progress: Reports how many images are done, of how many.
        num_threads: None: one for each core.

    Returns:
        How many images were made.
    """

    def fill(position: int) -> bool:
        # read, not only looked up: a damaged image is rebuilt, and one of an earlier cache taken over
        if cache.get(position) is not None:
            return False
        cache.put(position, make(position))
        return True

    positions = cache.storable()
    made = done = 0
    with ThreadPoolExecutor(num_threads or os.cpu_count() or 1) as pool:
        for start in range(0, len(positions), _AT_ONCE):
            if cache.marks.error:
                break
            for was_made in pool.map(fill, positions[start : start + _AT_ONCE].tolist()):
                made, done = made + was_made, done + 1
                if progress is not None:
                    progress(done, len(positions))
    return made
