"""Values by epoch, from ``metrics.csv`` and ``timings.csv``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from classifier_training.files.text import plain_text
from classifier_training.metrics.best_epoch import find_best
from classifier_training.run.records import DamagedFileError, read_table


@dataclass(frozen=True, slots=True)
class Curves:
    """Values by epoch.

    Attributes:
        epochs: From 0, ascending.
        columns: By name such as ``val/top1``, one value for each epoch; None where it is missing or not finite.
    """

    epochs: tuple[int, ...] = ()
    columns: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)

    def known(self, column: str) -> list[float]:
        """The known values of a column."""
        return [value for value in self.columns.get(column, ()) if value is not None]

    def best(self, column: str, *, is_lower_better: bool) -> tuple[int, float] | None:
        """The best epoch, see `is_better`, and its value; None where there is no value."""
        values = self.columns.get(column, ())
        losses = self.columns.get("val/loss", (None,) * len(values))
        position = find_best(values, losses, "min" if is_lower_better else "max")
        value = None if position is None else values[position]
        return None if position is None or value is None else (self.epochs[position], value)


def read_curves(path: Path) -> Curves:
    """Reads a table with one row an epoch, such as ``metrics.csv``.

    Raises:
        DamagedFileError: The file is not such a table.
    """
    rows = read_table(path)
    header = next(rows)
    if header[0] != "epoch" or len(set(header)) != len(header):
        raise DamagedFileError("does not begin with the column epoch, or has a column twice")
    try:
        by_epoch = {int(row[0]): [_value(cell) for cell in row[1:]] for row in rows}
    except ValueError:
        raise DamagedFileError("contains values that are not numbers") from None
    epochs = sorted(by_epoch)
    if epochs and not 0 <= epochs[0] <= epochs[-1] < 2**31:
        raise DamagedFileError("has an impossible epoch")
    columns = zip(*(by_epoch[epoch] for epoch in epochs), strict=True) if epochs else ((),) * (len(header) - 1)
    return Curves(tuple(epochs), dict(zip(map(plain_text, header[1:]), map(tuple, columns), strict=True)))


def _value(cell: str) -> float | None:
    value = float(cell) if cell else None
    return value if value is not None and math.isfinite(value) else None
