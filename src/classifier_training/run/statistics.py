"""``data/statistics.json``: counts, sizes and modes of the images of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from classifier_training.run.records import FORMAT, Count, Format, Items, Number

Quantity = Literal["width", "height", "aspect_ratio"]
QUANTITIES: Final[tuple[Quantity, ...]] = ("width", "height", "aspect_ratio")
"""Width and height in pixels, and width over height."""
MAX_BINS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, median and largest value of a quantity over all images."""

    min: Number
    median: Number
    max: Number


@dataclass(frozen=True, slots=True)
class Histogram:
    """Numbers of images between edges.

    Attributes:
        edges: n + 1 values, ascending.
        counts: n of them.
    """

    edges: Items[Number]
    counts: Items[Count]

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.counts) + 1 or list(self.edges) != sorted(self.edges):
            raise ValueError("does not have one more ascending edge than counts")
        if len(self.counts) > MAX_BINS:
            raise ValueError(f"has {len(self.counts)} bins, more than {MAX_BINS}")


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that was left out.

    Attributes:
        file: Where it is.
        reason: Why it cannot be read.
    """

    file: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the images of a run are like.

    Attributes:
        format: Version of the file.
        root: Where the images were.
        num_images: Number of all images.
        classes: K names.
        counts: K numbers of images, by split.
        imbalance_ratio: Images of the largest training class over those of the smallest; None where it is not known.
        width: In pixels, of the upright image.
        height: The same.
        aspect_ratio: Width over height.
        histograms: By quantity.
        modes: Number of images by Pillow's mode, such as ``RGB``, the most frequent one first.
        num_bad: Number of files that were left out.
        bad: The first of them.
    """

    format: Format = FORMAT
    root: str
    num_images: Count
    classes: Items[str]
    counts: dict[str, Items[Count]]
    imbalance_ratio: Number | None
    width: Spread | None = None
    height: Spread | None = None
    aspect_ratio: Spread | None = None
    histograms: dict[Quantity, Histogram]
    modes: dict[str, Count]
    num_bad: Count = 0
    bad: Items[BadFile] = ()

    def __post_init__(self) -> None:
        if any(len(numbers) != len(self.classes) for numbers in self.counts.values()):
            raise ValueError(f"does not have {len(self.classes)} counts in each split, one for each class")

    @property
    def spreads(self) -> dict[Quantity, Spread]:
        """By quantity, those that are known."""
        all_of_them = zip(QUANTITIES, (self.width, self.height, self.aspect_ratio), strict=True)
        return {quantity: spread for quantity, spread in all_of_them if spread is not None}
