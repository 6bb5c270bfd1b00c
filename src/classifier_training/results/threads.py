"""Images in several threads: Pillow lets go of the interpreter while it decodes, resizes and encodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

_MAX_THREADS: Final = 8

Item = TypeVar("Item")
Made = TypeVar("Made")


def in_threads(make: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
    """The result for each item, in order; an exception is raised as in a loop."""
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1), thread_name_prefix="images") as pool:
        return list(pool.map(make, items))
