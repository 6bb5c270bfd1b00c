"""Class and file names as figures can show them: on one line, short, and never taken for a formula."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

NAME_LENGTH: Final = 24
"""Letters of a name at an axis or below an image."""

LONG_NAME_LENGTH: Final = 40

_SPACES: Final = re.compile(r"\s+")
_INVISIBLE: Final = {"Cc", "Cf", "Co", "Cn", "Zl", "Zp"}


def shown(name: str, length: int = NAME_LENGTH) -> str:
    """A name for matplotlib, of at most ``length`` letters (3 or more) from its beginning and its end.

    White space becomes one space; control and direction characters, which could reorder the text around them, are left
    out; a lone surrogate, as in a file name that is not UTF-8, becomes a question mark in a box. Dollar signs are
    escaped, because matplotlib would set the text between two of them as a formula.
    """
    spaced = _SPACES.sub(" ", name).strip()
    visible = "".join(_visible(letter) for letter in spaced)
    return shortened(visible or "(no name)", length).replace("$", r"\$")


def shortened(text: str, length: int) -> str:
    """A text of at most ``length`` letters, with an ellipsis in its middle."""
    if len(text) <= length:
        return text
    end = (length - 1) // 3
    return f"{text[: length - 1 - end].rstrip()}…{text[len(text) - end :].lstrip()}"


def named(name: str) -> str:
    """A name for a message or a table of the terminal, at most `LONG_NAME_LENGTH` letters on one line."""
    return shortened(" ".join(name.split()), LONG_NAME_LENGTH)


def _visible(letter: str) -> str:
    category = unicodedata.category(letter)
    if category == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    return "" if category in _INVISIBLE else letter
