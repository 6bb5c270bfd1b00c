"""``data/sampler_distribution.csv``: a row for each epoch and class, always whole, no epoch twice after a resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.sampling.epoch_samples import EpochSamples
from classifier_training.files.atomic import write_text
from classifier_training.files.tables import format_rows, read_columns

COLUMNS = ("epoch", "class", "images", "drawn")


class SampledTable:
    """What each epoch drew, kept in a file.

    Args:
        path: The file.

    Attributes:
        drawn: What was drawn, int64 (K,), by epoch.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.drawn: dict[int, NDArray[np.int64]] = {}
        self._rows: dict[int, str] = {}  # as they stand in the file: with many classes, writing them anew takes long

    def read(self, num_epochs: int) -> None:
        """Takes over the first epochs from a file that an earlier process wrote; 0: none of them."""
        self.drawn, self._rows = {}, {}
        if num_epochs <= 0 or not self.path.is_file():
            return
        names: dict[int, list[tuple[str, int, int]]] = {}
        for number, name, *counts in read_columns(self.path, COLUMNS):
            if int(number) < num_epochs:
                names.setdefault(int(number), []).append((name, int(counts[0]), int(counts[1])))
        for epoch, rows in names.items():
            classes, images, drawn = zip(*rows, strict=True)
            self._add(epoch, EpochSamples(classes, np.array(images, np.int64), np.array(drawn, np.int64)))

    def write(self, epoch: int, drawn: EpochSamples) -> None:
        """Adds an epoch, or replaces it."""
        self._add(epoch, drawn)
        write_text(self.path, format_rows([COLUMNS]) + "".join(self._rows[number] for number in sorted(self._rows)))

    def _add(self, epoch: int, drawn: EpochSamples) -> None:
        rows = zip(drawn.classes, drawn.images.tolist(), drawn.drawn.tolist(), strict=True)
        self._rows[epoch] = format_rows((epoch, *row) for row in rows)
        self.drawn[epoch] = drawn.drawn
