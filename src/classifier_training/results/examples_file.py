"""``pictures.json``: the images that are shown with the scores of one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from classifier_training.run.records import FORMAT, Count, Format, Limits, Number, Share

MAX_EXAMPLES: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleRow:
    """An image that is shown.

    Attributes:
        index: Position in the split.
        file: Its name.
        true: Its class; its index in files of early versions.
        predicted: The class that was predicted, in the same way.
        confidence: Probability of the predicted class.
        loss: Minus the logarithm of the true class's probability; None: it is infinite.
        why: What it is an example of: ``worst``, ``least_certain`` and ``cell``.
        thumbnail: A JPEG file, relative to the folder; None: the image could not be read.
        cam: A JPEG file with its Grad-CAM map, or None.
    """

    index: Count
    file: str
    true: str | Count
    predicted: str | Count
    confidence: Share
    loss: Number | None = None
    why: tuple[str, ...]
    thumbnail: str | None = None
    cam: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamplesFile:
    """The images that are shown with the scores of one pass.

    Attributes:
        format: Version of the file.
        epoch: Of the weights that predicted them, from 0; None where it is not known.
        pictures: The images, the most important ones first.
    """

    format: Format = FORMAT
    epoch: Count | None = None
    pictures: Annotated[tuple[ExampleRow, ...], Limits(fail_fast=True, max_length=MAX_EXAMPLES)]
