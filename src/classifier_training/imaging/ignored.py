"""What is said of files that are not read as images: the same by training and by prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CONVERTIBLE: Final = frozenset(
    {
        ".heic", ".heif", ".hif", ".jxl", ".jxr", ".tga", ".psd", ".svg", ".eps", ".pdf", ".exr", ".hdr",
        ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf",
    }
)  # fmt: skip
"""What the names of pictures end in that other programs read, lower case, with the dot."""


def describe_ignored(root: str, kinds: Mapping[str, int]) -> str:
    """The warning about files that are not read.

    Args:
        root: The folder that they lie in.
        kinds: How many there are of each extension.
    """
    counted = ", ".join(f"{count} × {kind}" for kind, count in sorted(kinds.items()))
    convertible = sorted(CONVERTIBLE & kinds.keys())
    hint = f"; to use the {' and '.join(convertible)} files, convert them to JPEG or PNG" if convertible else ""
    return f"files below {root} that are not images are ignored: {counted}{hint}"
