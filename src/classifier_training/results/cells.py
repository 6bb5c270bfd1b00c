"""Text in the cells of a CSV file, and in JSON."""

from __future__ import annotations

import re
from typing import Final

from classifier_training.files.text import plain_text

_NEEDS_QUOTES: Final = re.compile('[",\r\n]')


def csv_cell(text: str) -> str:
    """A cell that every reader of CSV takes for one; a lone carriage return in a name would end the row otherwise."""
    text = plain_text(text)
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text
