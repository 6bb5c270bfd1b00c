"""Files that many processes read through memory and write to at offsets of their own, the same on every platform."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from pathlib import Path
from typing import Final

_BINARY: Final = getattr(os, "O_BINARY", 0)  # Windows would change line ends
_ONE_SEEK = threading.Lock()


def map_file(path: Path) -> mmap.mmap:
    """A file as read-only memory, which all processes share and which stays valid when the file is removed.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is empty.
    """
    number = os.open(path, os.O_RDONLY | _BINARY)
    try:
        return mmap.mmap(number, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(number)


class WritableFile:
    """An existing file that is written to at given offsets.

    Mapped memory is read and never written: on a full disk, a write to a file is an error, while one to its memory
    would end the process.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._number = os.open(path, os.O_RDWR | _BINARY)

    def __del__(self) -> None:
        if hasattr(self, "_number"):
            os.close(self._number)

    def write_at(self, offset: int, content: bytes | memoryview) -> None:
        """Writes ``content`` from byte ``offset`` on.

        Raises:
            OSError: Not all of it could be written.
        """
        left = memoryview(content)
        while left:
            written = _write_some(self._number, left, offset)
            if written == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left, offset = left[written:], offset + written


def _write_some(number: int, content: memoryview, offset: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(number, content, offset)
    with _ONE_SEEK:  # Windows has no write that leaves the file's position alone
        os.lseek(number, offset, os.SEEK_SET)
        return os.write(number, content)
