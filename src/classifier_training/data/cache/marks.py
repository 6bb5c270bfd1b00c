"""What the processes of one run know of a cache's images: one byte an image, shared through a file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.cache.mapped_file import WritableFile, map_file

UNKNOWN: Final = 0
GOOD: Final = 1
"""Was read and is what was written."""
DAMAGED: Final = 2
"""Was read and is not what was written."""
REPAIRED: Final = 3
"""Was damaged and has been stored again."""
MISFIT: Final = 4
"""Could not be stored, because its size is not the one that was expected."""

_HEADER: Final = 1  # the number of the error that ended the filling; 0 before
_LARGEST: Final = 255


class CacheMarks:
    """One mark an image, and why no more images are stored, if so.

    What one worker found good the others need not check again, and what went wrong in a worker is reported by the
    main process. Single bytes are written, so nothing has to be locked. Pickles as its path.

    Args:
        path: What `create` made; None: every process has marks of its own.
        count: Number of images.
    """

    def __init__(self, path: Path | None, count: int) -> None:
        self.path = path
        self.count = count
        self._file: WritableFile | None = None
        self._view: memoryview | bytearray | None = None

    @classmethod
    def create(cls, path: Path, count: int) -> CacheMarks:
        """Writes a file of empty marks.

        Raises:
            OSError: It cannot be written.
        """
        path.write_bytes(bytes(_HEADER + count))
        return cls(path, count)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "count": self.count, "_file": None, "_view": None}

    def __getitem__(self, position: int) -> int:
        return (self._view or self._open())[_HEADER + position]

    def __setitem__(self, position: int, mark: int) -> None:
        self._write(_HEADER + position, mark)

    @property
    def error(self) -> int:
        """Why no more images are stored, as an `errno`; 0: they still are."""
        return (self._view or self._open())[0]

    def stop(self, error: Exception) -> None:
        """Notes that no more images are stored, and why."""
        self._write(0, min(getattr(error, "errno", None) or _LARGEST, _LARGEST))

    def positions(self, *marks: int) -> NDArray[np.int64]:
        """int64 (n,), the images that have one of these marks."""
        return np.flatnonzero(np.isin(np.frombuffer(self._view or self._open(), np.uint8)[_HEADER:], marks))

    def _write(self, index: int, value: int) -> None:
        view = self._view or self._open()
        if isinstance(view, bytearray):
            view[index] = value
        elif self._file is not None:
            with contextlib.suppress(OSError):  # an image whose mark is lost is checked again
                self._file.write_at(index, bytes([value]))

    def _open(self) -> memoryview | bytearray:
        view: memoryview | bytearray = bytearray(_HEADER + self.count)
        if self.path is not None:
            # without the file, because the run has ended or could write nothing, the process has marks of its own
            with contextlib.suppress(OSError, ValueError):
                self._file = WritableFile(self.path)
                view = memoryview(map_file(self.path))
        self._view = view
        return view
