"""``data/sampler_distribution.csv``: a row for each epoch and class, always whole, no epoch twice after a resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.sampling.epoch_samples import EpochSamples
from classifier_training.files.atomic import write_text
from classifier_training.files.tables import format_rows, read_columns
from classifier_training.run.sampler_distribution import COLUMNS


class SampledTable:
    """What each epoch sampled, kept in a file.

    Args:
        path: The file.

    Attributes:
        sampled: How often each class was sampled, int64 (K,), by epoch.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sampled: dict[int, NDArray[np.int64]] = {}
        self._rows: dict[int, str] = {}  # as text: with many classes, formatting takes long

    def read(self, num_epochs: int) -> None:
        """Takes over the first epochs from a file that an earlier process wrote; 0: none of them."""
        self.sampled, self._rows = {}, {}
        if num_epochs <= 0 or not self.path.is_file():
            return
        names: dict[int, list[tuple[str, int, int]]] = {}
        for number, name, *counts in read_columns(self.path, COLUMNS):
            if int(number) < num_epochs:
                names.setdefault(int(number), []).append((name, int(counts[0]), int(counts[1])))
        for epoch, rows in names.items():
            classes, images, sampled = zip(*rows, strict=True)
            self._add(epoch, EpochSamples(classes, np.array(images, np.int64), np.array(sampled, np.int64)))

    def write(self, epoch: int, samples: EpochSamples) -> None:
        """Adds an epoch, or replaces it."""
        self._add(epoch, samples)
        write_text(self.path, format_rows([COLUMNS]) + "".join(self._rows[number] for number in sorted(self._rows)))

    def _add(self, epoch: int, samples: EpochSamples) -> None:
        rows = zip(samples.classes, samples.images.tolist(), samples.sampled.tolist(), strict=True)
        self._rows[epoch] = format_rows((epoch, *row) for row in rows)
        self.sampled[epoch] = samples.sampled
