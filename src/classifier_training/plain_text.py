"""Text that can be written, whatever it came from."""

from __future__ import annotations


def plain_text(text: str) -> str:
    """Text that can be written as UTF-8: bytes of a file name that are no text become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
