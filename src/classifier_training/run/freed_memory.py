"""Lets a process that trains on a CPU keep the memory that it frees, for its next step."""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Final

_TRIM_THRESHOLD: Final = -1  # parameters of glibc's mallopt, see malloc.h
_TOP_PAD: Final = -2
_MMAP_MAX: Final = -4
_LARGEST: Final = 2**31 - 1
_PAD_BYTES: Final = 64 * 2**20
_OWN_SETTINGS: Final = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")
"""Variables by which somebody has chosen an allocator, or its settings, for this process."""


def keep_freed_memory() -> bool:
    """Has the C library reuse large blocks, instead of giving each back to the system and asking for it again.

    A training step on a CPU allocates and frees its activations, some gigabytes. glibc returns every block of more
    than 32 MB at once, and the system has to clear its pages before they are used again: half a million page faults a
    step, 40 % of the time. The price is that memory once used stays with the process. Elsewhere than on Linux with
    glibc, and where the environment has chosen an allocator or its settings, nothing is done.

    Returns:
        Whether it was done.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    if any(name in os.environ for name in _OWN_SETTINGS):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, _PAD_BYTES))
    return all(mallopt(parameter, value) == 1 for parameter, value in wanted)
