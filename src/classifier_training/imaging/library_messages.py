"""Keeps what image libraries write to standard error while they decode off the terminal, and counts it.

libtiff prints every error of a file, although Pillow raises it as well; Pillow itself logs what is odd. Standard error
is left alone: it belongs to the whole process, and other threads may be writing to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import sys
from pathlib import Path
from typing import Any, Final

import PIL
from PIL import Image

_HANDLER: Final = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)


class _Counter(logging.Handler):
    """Counts messages; a logger that has a handler does not print to standard error."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Counts one message of Pillow."""
        if record.levelno >= logging.WARNING:
            self.count += 1

    def take(self, *_: object) -> None:
        """Counts one message of libtiff."""
        self.count += 1


_counter: Final = _Counter()
_count_message: Final = _HANDLER(_counter.take)


def num_messages() -> int:
    """How many messages of image libraries this process has kept off the terminal so far."""
    return _counter.count


def hold_messages() -> Any:
    """Begins to keep messages off the terminal; returns what `release_messages` needs."""
    logging.getLogger("PIL").addHandler(_counter)
    library = _libtiff()
    return None if library is None else library.TIFFSetErrorHandler(ctypes.cast(_count_message, ctypes.c_void_p))


def release_messages(previous: Any) -> None:
    """Undoes `hold_messages`."""
    logging.getLogger("PIL").removeHandler(_counter)
    library = _libtiff()
    if library is not None:
        library.TIFFSetErrorHandler(previous)


@functools.cache
def _libtiff() -> Any:
    """The libtiff that Pillow uses; None where it is a part of another library, as on Windows."""
    Image.init()  # loads Pillow's own libraries
    for path in _candidates():
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(path)
            library.TIFFSetErrorHandler.argtypes = [ctypes.c_void_p]
            library.TIFFSetErrorHandler.restype = ctypes.c_void_p
            return library
    return None


def _candidates() -> list[str]:
    """Paths of libtiff: those that the process has loaded, or the one in Pillow's package."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
            return sorted({line.split(maxsplit=5)[5] for line in maps.splitlines() if "/libtiff" in line})
    return [str(path) for path in Path(PIL.__file__).parent.glob(".dylibs/libtiff*.dylib")]
