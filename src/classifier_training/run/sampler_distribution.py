"""``data/sampler_distribution.csv``: how often each class was sampled in each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.files.text import plain_text
from classifier_training.run.records import DamagedFileError, read_table

COLUMNS: Final = ("epoch", "class", "images", "drawn")  # version 0.1 named the last one


@dataclass(frozen=True, slots=True, eq=False)
class SamplerDistribution:
    """How often each class was sampled.

    Attributes:
        classes: K names.
        epochs: E of them, from 0.
        images: int64 (K,), training images of each class.
        sampled: int64 (E, K), images sampled of each class.
    """

    classes: tuple[str, ...]
    epochs: tuple[int, ...]
    images: NDArray[np.int64]
    sampled: NDArray[np.int64]


def read_sampler_distribution(path: Path) -> SamplerDistribution:
    """Reads ``data/sampler_distribution.csv``.

    Raises:
        DamagedFileError: The file is not such a table.
    """
    rows = read_table(path)
    if next(rows) != [*COLUMNS]:
        raise DamagedFileError(f"does not have the columns {', '.join(COLUMNS)}")
    sampled: dict[int, dict[str, int]] = {}
    images: dict[str, int] = {}
    try:
        for epoch, name, num_images, number in rows:
            images[name] = int(num_images)
            sampled.setdefault(int(epoch), {})[name] = int(number)
        names, epochs = list(images), sorted(sampled)
        counts = np.array([[sampled[epoch][name] for name in names] for epoch in epochs], dtype=np.int64)
        numbers = np.array(list(images.values()), dtype=np.int64)
    except KeyError:
        raise DamagedFileError("does not have a row for every class in every epoch") from None
    except (ValueError, OverflowError):
        raise DamagedFileError("contains values that are not whole numbers") from None
    if not epochs or min(epochs[0], numbers.min(), counts.min()) < 0:
        raise DamagedFileError("has no rows, or negative numbers")
    return SamplerDistribution(tuple(map(plain_text, names)), tuple(epochs), numbers, counts)
