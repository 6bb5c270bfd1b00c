"""What the photos of a run are like and what was drawn of them: ``data/`` of a run folder, as a page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier_training.files.text import plain_text
from classifier_training.pages.read.reading import DamagedFileError, Fields, read_fields, read_rows

_QUANTITIES = ("width", "height", "aspect_ratio")
_SPLITS = ("train", "val", "test")
_MAX_BINS = 10_000


@dataclass(frozen=True, slots=True)
class Spread:
    """Of a quantity over all images, in pixels or as width over height."""

    min: float
    median: float
    max: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Numbers of images between edges.

    Attributes:
        edges: n + 1 values, ascending.
        counts: n of them.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the photos are like.

    Attributes:
        root: Where they lay.
        num_images: Number of all of them.
        classes: K names.
        counts: K numbers of images, by split.
        imbalance_ratio: Largest over smallest training class; None where it is not known.
        spreads: By ``width``, ``height``, ``aspect_ratio``, those that are known.
        histograms: By the same names.
        modes: Number of images by Pillow's mode, such as ``RGB``.
        bad: Files that cannot be read, and why.
    """

    root: str
    num_images: int
    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    imbalance_ratio: float | None
    spreads: Mapping[str, Spread]
    histograms: Mapping[str, Histogram]
    modes: Mapping[str, int]
    bad: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class SamplerDistribution:
    """What was drawn of each class.

    Attributes:
        classes: K names.
        epochs: E of them, from 0.
        images: int64 (K,), training images of each class.
        drawn: int64 (E, K), how many were drawn.
    """

    classes: tuple[str, ...]
    epochs: tuple[int, ...]
    images: NDArray[np.int64]
    drawn: NDArray[np.int64]


def read_statistics(path: Path) -> Statistics:
    """Reads ``data/statistics.json``.

    Raises:
        DamagedFileError: It is no such file.
    """
    fields = read_fields(path)
    classes, counts = fields.texts("classes"), fields.object("counts")
    by_split = {split: counts.counts(split) for split in _SPLITS if split in counts.values}
    if any(len(numbers) != len(classes) for numbers in by_split.values()):
        raise DamagedFileError(f"does not have {len(classes)} counts in each split, one for each class")
    histograms, modes = fields.object("histograms"), fields.object("modes")
    return Statistics(
        root=fields.text("root"),
        num_images=fields.count("num_images"),
        classes=classes,
        counts=by_split,
        imbalance_ratio=fields.number_or_none("imbalance_ratio"),
        spreads={name: _spread(fields.object(name)) for name in _known(fields)},
        histograms={name: _histogram(histograms.object(name)) for name in _known(histograms)},
        modes={plain_text(mode): modes.count(mode) for mode in modes.values},
        bad=tuple((one.text("file"), one.text("reason")) for one in fields.objects("bad")),
    )


def read_sampler_distribution(path: Path) -> SamplerDistribution:
    """Reads ``data/sampler_distribution.csv``.

    Raises:
        DamagedFileError: It is no such table.
    """
    rows = read_rows(path)
    if next(rows) != ["epoch", "class", "images", "drawn"]:
        raise DamagedFileError("does not have the columns epoch,class,images,drawn")
    drawn: dict[int, dict[str, int]] = {}
    images: dict[str, int] = {}
    try:
        for epoch, name, num_images, num_drawn in rows:
            images[name] = int(num_images)
            drawn.setdefault(int(epoch), {})[name] = int(num_drawn)
        names, epochs = list(images), sorted(drawn)
        counts = np.array([[drawn[epoch][name] for name in names] for epoch in epochs], dtype=np.int64)
        numbers = np.array(list(images.values()), dtype=np.int64)
    except KeyError:
        raise DamagedFileError("does not have a row for every class in every epoch") from None
    except (ValueError, OverflowError):
        raise DamagedFileError("has something else than whole numbers in it") from None
    if not epochs or min(epochs[0], numbers.min(), counts.min()) < 0:
        raise DamagedFileError("has no rows, or negative numbers in them")
    return SamplerDistribution(tuple(map(plain_text, names)), tuple(epochs), numbers, counts)


def _known(fields: Fields) -> list[str]:
    return [name for name in _QUANTITIES if fields.values.get(name) is not None]


def _spread(fields: Fields) -> Spread:
    return Spread(fields.number("min"), fields.number("median"), fields.number("max"))


def _histogram(fields: Fields) -> Histogram:
    fields.items("edges", _MAX_BINS)
    edges, counts = fields.numbers("edges"), fields.counts("counts")
    if len(edges) != len(counts) + 1 or list(edges) != sorted(edges):
        raise DamagedFileError(f"does not have one more edge than counts in {fields.where}")
    return Histogram(edges, counts)
