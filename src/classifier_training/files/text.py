"""Text that can be written as UTF-8, and lists of names in messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

NUM_NAMED: Final = 3
"""How many offenders a message names before it only counts."""


def plain_text(text: str) -> str:
    """Text that can be written as UTF-8: bytes of a file name that are not UTF-8 become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def name_some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - NUM_NAMED} more" if len(listed) > NUM_NAMED else ""
    return ", ".join(listed[:NUM_NAMED]) + more
