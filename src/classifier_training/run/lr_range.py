"""The range test of the learning rate, ``lr_range.csv``: its losses, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from classifier_training.files.atomic import write_text
from classifier_training.files.tables import format_rows
from classifier_training.run.records import DamagedFileError, read_table

NUM_STEPS: Final = 100
LOWEST: Final = 1e-6
HIGHEST: Final = 1.0
DIVERGED: Final = 3.0
"""The test ends where the smoothed loss is so many times its minimum."""
_SMOOTHING: Final = 0.9
_LEAST_FALL: Final = 0.01  # share of its first value by which the smoothed loss has to fall, or it says nothing
_SHARE_OF_MINIMUM: Final = 0.1
_COLUMNS: Final = ["lr", "loss", "smoothed"]


@dataclass(frozen=True, slots=True)
class RangeTest:
    """The losses of a range test.

    Attributes:
        rates: Learning rates that were tried, rising.
        losses: The loss before the step with each.
        smoothed: Their moving average.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]

    @property
    def lowest(self) -> float | None:
        """The rate at which the smoothed loss is lowest, and from which on it rises; None of an empty test."""
        return self.rates[self.smoothed.index(min(self.smoothed))] if self.smoothed else None

    @property
    def suggestion(self) -> float | None:
        """A tenth of the rate at which the smoothed loss is lowest; None where it does not fall."""
        lowest = self.lowest
        if lowest is None or self.smoothed[0] - min(self.smoothed) < _LEAST_FALL * self.smoothed[0]:
            return None
        return float(f"{_SHARE_OF_MINIMUM * lowest:.2g}")

    @property
    def has_diverged(self) -> bool:
        """Whether the test ended before its highest rate, as the loss was a multiple of its minimum."""
        return bool(self.smoothed) and self.smoothed[-1] > DIVERGED * min(self.smoothed)

    @property
    def end(self) -> str:
        """How it ended, in words."""
        if self.has_diverged:
            return f"it ended at {self.rates[-1]:.2g}, where the loss was {DIVERGED:g} times its minimum"
        if len(self.rates) < NUM_STEPS:
            after = f" after {self.rates[-1]:.2g}" if self.rates else " at its first step"
            return f"it ended{after}, as the loss was no finite number any more"
        return f"it went up to {self.rates[-1]:.2g}"


def smooth(losses: Sequence[float]) -> tuple[float, ...]:
    """The exponential moving average of losses, without the bias of its beginning."""
    average, smoothed = 0.0, []
    for number, loss in enumerate(losses, 1):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        smoothed.append(average / (1 - _SMOOTHING**number))
    return tuple(smoothed)


def write_range_test(path: Path, test: RangeTest) -> None:
    """Writes a row for each rate."""
    rows = zip(test.rates, test.losses, test.smoothed, strict=True)
    write_text(path, format_rows([tuple(_COLUMNS), *rows]))


def read_range_test(path: Path) -> RangeTest:
    """Reads what `write_range_test` has written.

    Raises:
        DamagedFileError: The file is not such a table.
    """
    rows = read_table(path)
    if next(rows) != _COLUMNS:
        raise DamagedFileError(f"has not the columns {', '.join(_COLUMNS)}")
    try:
        values = [tuple(map(float, row)) for row in rows]
    except ValueError:
        raise DamagedFileError("contains values that are not numbers") from None
    rates = [row[0] for row in values]
    is_rising = all(low < high for low, high in zip([0.0, *rates], rates, strict=False))
    if not is_rising or not all(math.isfinite(value) for row in values for value in row):
        raise DamagedFileError("has rates that do not rise, or values that are not finite")
    columns = zip(*values, strict=True) if values else ((), (), ())
    return RangeTest(*map(tuple, columns))
