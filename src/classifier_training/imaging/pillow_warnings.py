"""Keeps Pillow's warnings off a user's screen while one of our threads decodes, and only then."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any, cast

_lock = threading.Lock()
_num_inside = 0
_filter: Any = None


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Ignores warnings that Pillow raises, in whichever thread, until the last thread has left the block.

    ``warnings.catch_warnings`` saves and restores the process's whole filter list, so two threads whose blocks
    overlap can leave each other's filters behind for good. This adds and removes one entry and touches no other.
    """
    global _num_inside, _filter
    with _lock:
        if _num_inside == 0:
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _filter = warnings.filters[0]
        _num_inside += 1
    try:
        yield
    finally:
        with _lock:
            _num_inside -= 1
            if _num_inside == 0:
                # Somebody else may have put back an older list meanwhile; then the entry is gone already.
                with contextlib.suppress(ValueError):
                    cast("list[Any]", warnings.filters).remove(_filter)
