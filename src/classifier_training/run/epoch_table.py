"""A CSV file with one row an epoch: always whole, and without duplicates after a resume."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from classifier_training.files.atomic import write_text


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
        if num_epochs > 0 and self.path.is_file():
            with self.path.open(encoding="utf-8", newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) < num_epochs]

    def write(self, epoch: int, values: Mapping[str, str]) -> None:
        """Adds the row of an epoch, or replaces it."""
        row = {"epoch": str(epoch), **values}
        self.rows = [*(old for old in self.rows if old["epoch"] != row["epoch"]), row]
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self._columns(), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, buffer.getvalue())

    def _columns(self) -> Sequence[str]:
        used = {name for row in self.rows for name in row}
        return [*(name for name in self.first_columns if name in used), *sorted(used - set(self.first_columns))]
