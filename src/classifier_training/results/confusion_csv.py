"""``confusion_matrix.csv``: a row a true class, a column a predicted one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.files.atomic import write_text
from classifier_training.results.cells import csv_cell

CORNER: Final = r"true \ predicted"
"""The first cell."""


def write_confusion_csv(path: Path, confusion: NDArray[np.integer[Any]], classes: Sequence[str]) -> None:
    """Writes the counts, atomically.

    Args:
        path: The file.
        confusion: Integer (K, K).
        classes: K class names, in class order.
    """
    names = [csv_cell(name) for name in classes]
    lines = [",".join((csv_cell(CORNER), *names))]
    for name, row in zip(names, confusion, strict=True):
        lines.append(f"{name},{','.join(map(str, row.tolist()))}")
    write_text(path, "\n".join(lines) + "\n", durable=False)
