"""Values by epoch, from the CSV files that a run keeps of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from classifier_training.files.text import plain_text
from classifier_training.pages.read.reading import DamagedFileError, read_rows


@dataclass(frozen=True, slots=True)
class Curves:
    """Values by epoch.

    Attributes:
        epochs: From 0, ascending.
        columns: By name such as ``val/top1``, as many values as epochs; None where there is none, or no finite one.
    """

    epochs: tuple[int, ...] = ()
    columns: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)

    def best(self, column: str, *, is_lower_better: bool) -> tuple[int, float] | None:
        """The epoch with the best value, as `RunCheckpoint` chooses it, and that value; None where there is no value.

        Of equal values that with the lowest ``val/loss`` is the best, and of these the first.
        """
        values = self.columns.get(column, ())
        losses = self.columns.get("val/loss", (None,) * len(values))
        sign = 1.0 if is_lower_better else -1.0
        found = [
            (sign * value, math.inf if loss is None else loss, epoch, value)
            for epoch, value, loss in zip(self.epochs, values, losses, strict=False)
            if value is not None
        ]
        return min(found)[2:] if found else None


def read_curves(path: Path) -> Curves:
    """Reads a table with one row an epoch, such as ``metrics.csv``.

    Raises:
        DamagedFileError: It is no such table.
    """
    rows = read_rows(path)
    header = next(rows)
    if header[0] != "epoch" or len(set(header)) != len(header):
        raise DamagedFileError("does not begin with the column epoch, or has a column twice")
    try:
        by_epoch = {int(row[0]): [_value(cell) for cell in row[1:]] for row in rows}
    except ValueError:
        raise DamagedFileError("has something else than numbers in it") from None
    epochs = sorted(by_epoch)
    if epochs and not 0 <= epochs[0] <= epochs[-1] < 2**31:
        raise DamagedFileError("has an epoch that is none")
    columns = zip(*(by_epoch[epoch] for epoch in epochs), strict=True) if epochs else ((),) * (len(header) - 1)
    return Curves(tuple(epochs), dict(zip(map(plain_text, header[1:]), map(tuple, columns), strict=True)))


def _value(cell: str) -> float | None:
    value = float(cell) if cell else None
    return value if value is not None and math.isfinite(value) else None
