"""Features of images, one row an image, written as they come and made a file at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier_training.files.atomic import atomic_path


@dataclass(frozen=True, slots=True)
class RawFeatures:
    """A file of float32 (N, D), a row after the other.

    Attributes:
        path: The file.
        num_features: D.
    """

    path: Path
    num_features: int

    @property
    def num_rows(self) -> int:
        """N; a row that is not whole does not count."""
        return self.path.stat().st_size // (4 * self.num_features) if self.path.exists() else 0

    def keep(self, num_rows: int) -> None:
        """Cuts off what follows so many rows."""
        with self.path.open("ab") as file:
            file.truncate(num_rows * 4 * self.num_features)

    def append(self, features: Sequence[NDArray[np.float32] | None]) -> None:
        """Adds rows; NaN for None."""
        nothing = np.full(self.num_features, np.nan, np.float32)
        rows = np.stack([nothing if row is None else row for row in features])
        with self.path.open("ab") as file:
            file.write(rows.astype("<f4", copy=False).tobytes())

    def rows(self) -> Iterator[NDArray[np.float32]]:
        """The rows, float32 (D,) each."""
        with self.path.open("rb") as file:
            while row := file.read(4 * self.num_features):
                yield np.frombuffer(row, "<f4")


def write_npy(path: Path, features: Iterator[NDArray[np.float32]], shape: tuple[int, int]) -> None:
    """Writes float32 (N, D) as a ``.npy`` file, whole or not at all, a row at a time.

    Raises:
        OSError: It cannot be written.
    """
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.writelines(row.tobytes() for row in features)
