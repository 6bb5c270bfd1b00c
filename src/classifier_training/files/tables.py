r"""CSV files: one writer, one reader and one escape, so that a row is always one line.

A cell may be any text: a file name with a line break in it, or with bytes that are not UTF-8. What cannot stand in a
line of UTF-8 text is written as ``\uXXXX`` (four lower-case hexadecimal digits): control characters, line and paragraph
separators, the byte order mark, and surrogates, which is how Python holds the bytes of a file name that are not UTF-8.
A backslash stays as it is, unless the text after it would make it look like such an escape; then it is ``\u005c``. So
every text can be read back, and ordinary names, ``C:\new`` among them, are in the file as they are. Commas and quotes
are quoted as usual.

Files of version 0.1 are read as well: they have line breaks within quotes, and ``\udcXX`` for bytes that are not UTF-8.
Only a name that really held a backslash, a ``u`` and four such digits is read differently from how it was meant.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from classifier_training.files.atomic import atomic_path

Cell = str | int | float

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_ROWS_AT_ONCE: Final = 4_096
_TO_ESCAPE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]|\\(?=u[0-9a-f]{4})")
_ESCAPE: Final = re.compile(r"\\u([0-9a-f]{4})")


class TableError(ValueError):
    """A file is not the expected table; the message continues a sentence that begins with the file's name."""


def escape(text: str) -> str:
    r"""The text on one line of UTF-8; `unescape` gives it back.

    Example:
        >>> print(escape("two\nlines"), escape("C:\\new"), escape("\\u000a"))
        two\u000alines C:\new \u005cu000a
    """
    if text.isprintable() and "\\" not in text:  # nearly always, and much faster
        return text
    return _TO_ESCAPE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def unescape(text: str) -> str:
    """The text that `escape` was given."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text) if "\\" in text else text


def as_text_in_spreadsheets(text: str) -> str:
    """A cell that a spreadsheet does not take for a formula: one that begins like one gets an apostrophe before it.

    Example:
        >>> as_text_in_spreadsheets("=1+1")
        "'=1+1"
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def format_rows(rows: Iterable[Sequence[Cell]]) -> str:
    """The rows as lines of a CSV file."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([escape(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return buffer.getvalue()


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Cell]], *, durable: bool = True) -> None:
    """Writes a CSV file as `atomic_path`, some thousand rows at a time; a float is written with all its digits."""
    rows = iter(rows)
    with atomic_path(path, durable=durable) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(format_rows([header]))
        while some := format_rows(islice(rows, _ROWS_AT_ONCE)):
            file.write(some)


def read_rows(path: Path) -> Iterator[list[str]]:
    """The rows of a CSV file, the first of them its header; all have as many cells.

    Raises:
        TableError: It is not such a table.
        OSError: It cannot be read.
    """
    for row in _raw_rows(path):
        yield [unescape(cell) for cell in row]


def read_columns(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> Iterator[tuple[str, ...]]:
    """The cells of some columns, row by row, in the order in which the columns are named here.

    Args:
        path: The file.
        required: Columns that the table must have.
        optional: Columns that it may have; empty text where it has none.

    Raises:
        TableError: It is not such a table, or lacks a required column.
        OSError: It cannot be read.
    """
    rows = _raw_rows(path)
    header = [unescape(name) for name in next(rows)]
    missing = [name for name in required if name not in header]
    if missing:
        raise TableError(f"lacks the column {', '.join(missing)}")
    columns = [header.index(name) if name in header else -1 for name in (*required, *optional)]
    for row in rows:
        yield tuple([unescape(row[column]) if column >= 0 else "" for column in columns])


def _raw_rows(path: Path) -> Iterator[list[str]]:
    """The rows with their escapes."""
    with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets save a byte order mark
        rows = csv.reader(file, strict=True)
        try:
            header = next(rows, None)
            if not header:
                raise TableError("is empty")
            yield header
            for row in filter(None, rows):  # an editor may leave an empty line at the end
                if len(row) != len(header):
                    raise TableError(f"has {len(row)} cells in line {rows.line_num} and not {len(header)}")
                yield row
        except UnicodeDecodeError as error:
            raise TableError(f"is not UTF-8 text (after line {rows.line_num}: {error.reason})") from None
        except csv.Error as error:
            raise TableError(f"is not a CSV table: {error} (line {rows.line_num})") from None
