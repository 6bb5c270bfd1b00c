"""One pass of a model over labelled images, read from the files of a `ScoredFolder`, as a page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier_training.metrics.confusion import Confusion
from classifier_training.results.scores_file import ScoresFile


@dataclass(frozen=True, slots=True)
class Example:
    """An image that is shown.

    Attributes:
        index: Position in the split.
        file: Its name.
        true: Index of its class.
        predicted: Index of the class that was predicted.
        confidence: Probability of the predicted class.
        loss: Minus the logarithm of the true class's probability; None: it is infinite.
        why: What it is an example of: ``worst``, ``least_certain`` and ``cell``.
        thumbnail: An existing JPEG file, or None where it is gone.
        cam: An existing JPEG file with its Grad-CAM map, or None.
    """

    index: int
    file: str
    true: int
    predicted: int
    confidence: float
    loss: float | None
    why: frozenset[str]
    thumbnail: Path | None
    cam: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class PredictionColumns:
    """One row an image, N of them, in the order of the split; labels and predictions are class indices."""

    files: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    losses: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoredData(ScoresFile):
    """The scores of one pass with the other files of its folder.

    Attributes:
        root: The folder that it was read from.
        confusion: How often each class was predicted as each class; None where it is not known.
        images: Those that are shown.
        predictions: One row an image; None where they are not read or not known.
        examples_epoch: Whose weights predicted the images that are shown, where that is not the epoch of the scores.
    """

    root: Path
    confusion: Confusion | None = None
    images: tuple[Example, ...] = ()
    predictions: PredictionColumns | None = None
    examples_epoch: int | None = None
