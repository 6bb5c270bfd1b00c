"""``confusion_matrix.csv``: a row a true class, a column a predicted one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.files.tables import write_table

CORNER: Final = r"true \ predicted"
"""The first cell."""


def write_confusion_csv(path: Path, confusion: NDArray[np.integer[Any]], classes: Sequence[str]) -> None:
    """Writes the counts, atomically.

    Args:
        path: The file.
        confusion: Integer (K, K).
        classes: K class names, in class order.
    """
    rows = ([name, *counts.tolist()] for name, counts in zip(classes, confusion, strict=True))
    write_table(path, [CORNER, *classes], rows, durable=False)
