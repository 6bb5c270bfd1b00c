"""A CSV file with one row an epoch: always whole, and without duplicates after a resume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from classifier_training.files.tables import read_rows, write_table


class EpochTable:
    """Rows by epoch, rewritten as a whole with every row that is added.

    Args:
        path: The file; its first column is ``epoch``.
        first_columns: Columns that come first where they occur; all others follow in alphabetical order.
    """

    def __init__(self, path: Path, first_columns: Iterable[str]) -> None:
        self.path = path
        self.first_columns = ("epoch", *first_columns)
        self.rows: list[Mapping[str, str]] = []

    def read(self, num_epochs: int) -> None:
        """Takes over the rows of the first epochs from a file that an earlier process wrote; 0: none of them."""
        self.rows = []
        if num_epochs > 0 and self.path.is_file() and self.path.stat().st_size:
            header, *rows = read_rows(self.path)
            by_name = (dict(zip(header, row, strict=True)) for row in rows)
            self.rows = [row for row in by_name if int(row["epoch"]) < num_epochs]

    def write(self, epoch: int, values: Mapping[str, str]) -> None:
        """Adds the row of an epoch, or replaces it."""
        row = {"epoch": str(epoch), **values}
        self.rows = [*(old for old in self.rows if old["epoch"] != row["epoch"]), row]
        used = {name for row in self.rows for name in row}
        columns = [name for name in self.first_columns if name in used] + sorted(used - set(self.first_columns))
        write_table(self.path, columns, ([row.get(name, "") for name in columns] for row in self.rows))
