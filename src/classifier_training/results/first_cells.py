"""The first cells of wide CSV rows: a test split of a thousand classes has hundreds of megabytes of probabilities."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from typing import IO, Final

_LONGEST_ROW: Final = 2**26


def first_cells(file: IO[str], header: Sequence[str]) -> Iterator[list[str]]:
    """The first cells of each row below the header, as many as it has; the others are not looked at.

    Args:
        file: Opened with ``newline=""``.
        header: What the first row begins with.

    Raises:
        csv.Error: It does not, or a row has fewer cells, is without end, or is no row of a CSV file.
    """
    number = len(header)
    quoted = re.compile(rf'(?:(?:"(?:[^"]|"")*"|[^,"\r\n]*)(?:,|\r?\n|$)){{{number}}}')

    def cells_of(row: str) -> list[str]:
        if '"' not in row:  # nearly always, and much faster
            return row.rstrip("\r\n").split(",", number)[:number]
        found = quoted.match(row)
        return next(csv.reader([found.group().rstrip(",\r\n")], strict=True), []) if found else []

    rows = map(cells_of, _whole_rows(file))
    if next(rows, None) != list(header):
        raise csv.Error(f"does not begin with the columns {','.join(header)}")
    for place, cells in enumerate(rows, start=2):
        if len(cells) != number:
            raise csv.Error(f"has less than {number} cells in row {place}")
        yield cells


def _whole_rows(file: IO[str]) -> Iterator[str]:
    """Rows of a CSV file: lines, several of them where a name holds a line break."""
    row, num_quotes = "", 0
    for line in iter(lambda: file.readline(_LONGEST_ROW), ""):
        row += line
        num_quotes += line.count('"')
        if len(row) >= _LONGEST_ROW:
            raise csv.Error(f"has a row of more than {_LONGEST_ROW} characters")
        if num_quotes % 2 == 0:
            yield row
            row, num_quotes = "", 0
    if row:
        raise csv.Error("ends within a row")
