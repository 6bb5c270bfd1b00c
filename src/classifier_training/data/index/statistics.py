"""What the photos of a run are like: counts, sizes, aspect ratios, modes, and what was left out."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.index.check import MODES
from classifier_training.data.photos import Photos
from classifier_training.data.sources.detect import shown_root
from classifier_training.files.text import plain_text
from classifier_training.run.statistics import QUANTITIES, BadFile, Histogram, Spread, Statistics
from classifier_training.types import SPLITS

NUM_BINS: Final = 30
MAX_BAD_NAMED: Final = 1000
"""How many files that were left out are named; all of them are in ``data/split.csv``."""
_WIDE_RANGE: Final = 8.0
"""From this ratio of the largest to the smallest value on, the bins of a histogram grow with the value."""


def dataset_statistics(photos: Photos) -> Statistics:
    """Counts the good images of all splits.

    Sizes are those of the upright image. Everything comes from the columns of the index, so no image is read.

    Args:
        photos: The photos.

    Returns:
        What ``data/statistics.json`` holds; the edges of a histogram grow by a factor where the values do.
    """
    splits = [split for split in SPLITS if split in photos.rows]
    counts: dict[str, tuple[int, ...]] = {split: tuple(photos.counts(split)) for split in splits}
    rows = np.concatenate([photos.rows[split] for split in splits])
    widths, heights = photos.index.widths[rows], photos.index.heights[rows]
    columns = dict(zip(QUANTITIES, (widths, heights, widths.astype(np.float32) / heights), strict=True))
    return Statistics(
        root=plain_text(shown_root(photos.root)),
        num_images=len(rows),
        classes=tuple(plain_text(name) for name in photos.classes),
        counts=counts,
        imbalance_ratio=max(counts["train"]) / min(counts["train"]),
        width=_spread(widths),
        height=_spread(heights),
        aspect_ratio=_spread(columns["aspect_ratio"]),
        histograms={name: _histogram(values) for name, values in columns.items()},
        modes=_modes(photos.index.modes[rows]),
        num_bad=len(photos.bad),
        bad=tuple(BadFile(plain_text(bad.path), plain_text(bad.reason)) for bad in photos.bad[:MAX_BAD_NAMED]),
    )


def _spread(values: NDArray[Any]) -> Spread:
    return Spread(_number(values.min()), _number(np.median(values)), _number(values.max()))


def _histogram(values: NDArray[Any]) -> Histogram:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return Histogram((_number(low), _number(high)), (len(values),))
    space = np.geomspace if high > _WIDE_RANGE * low else np.linspace
    edges = space(low, high, NUM_BINS + 1)
    edges[0], edges[-1] = low, high  # the logarithm rounds
    distinct, times = np.unique(values, return_counts=True)
    counts, _ = np.histogram(distinct, edges, weights=times)
    return Histogram(tuple(map(_number, edges)), tuple(counts.astype(int).tolist()))


def _modes(codes: NDArray[np.uint8]) -> dict[str, int]:
    """Number of images by mode, the most frequent one first."""
    counts = np.bincount(codes, minlength=len(MODES))
    order = np.argsort(-counts, kind="stable")
    return {MODES[code]: int(counts[code]) for code in order if counts[code]}


def _number(value: Any) -> float:
    """Six significant digits."""
    return float(f"{float(value):.6g}")
