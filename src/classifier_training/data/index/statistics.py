"""What the photos of a run are like: counts, sizes, aspect ratios, modes, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.index.check import MODES, BadImage
from classifier_training.data.photos import Photos
from classifier_training.data.sources.recognise import shown_root
from classifier_training.files.text import plain_text
from classifier_training.types import SPLITS

NUM_BINS: Final = 30
MAX_BAD_NAMED: Final = 1000
"""How many files that were left out are named; all of them stand in ``data/split.csv``."""
_WIDE_RANGE: Final = 8.0
"""From this ratio of the largest to the smallest value on, the bins of a histogram grow with the value."""


def dataset_statistics(photos: Photos) -> dict[str, Any]:
    """Counts the good images of all splits.

    Sizes are those of the upright image. Everything comes from the columns of the index, so no image is read.

    Args:
        photos: The photos.

    Returns:
        Plain values for ``data/statistics.json``. ``imbalance_ratio`` is the number of training images of the
        largest class, divided by that of the smallest; ``aspect_ratio`` is width / height; a histogram has n counts
        and n + 1 edges, which grow by a factor where the values do.
    """
    splits = [split for split in SPLITS if split in photos.rows]
    counts = {split: photos.counts(split) for split in splits}
    rows = np.concatenate([photos.rows[split] for split in splits])
    widths, heights = photos.index.widths[rows], photos.index.heights[rows]
    columns = {"width": widths, "height": heights, "aspect_ratio": widths.astype(np.float32) / heights}
    return {
        "format": 1,
        "root": plain_text(shown_root(photos.root)),
        "num_images": len(rows),
        "classes": [plain_text(name) for name in photos.classes],
        "counts": counts,
        "imbalance_ratio": max(counts["train"]) / min(counts["train"]),
        **{name: _range(values) for name, values in columns.items()},
        "histograms": {name: _histogram(values) for name, values in columns.items()},
        "modes": _modes(photos.index.modes[rows]),
        "num_bad": len(photos.bad),
        "bad": _bad(photos.bad),
    }


def _range(values: NDArray[Any]) -> dict[str, float]:
    """Smallest, median and largest value."""
    return {
        "min": _number(values.min()),
        "median": _number(np.median(values)),
        "max": _number(values.max()),
    }


def _histogram(values: NDArray[Any]) -> dict[str, list[float] | list[int]]:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return {"edges": [_number(low), _number(high)], "counts": [len(values)]}
    space = np.geomspace if high > _WIDE_RANGE * low else np.linspace
    edges = space(low, high, NUM_BINS + 1)
    edges[0], edges[-1] = low, high  # whatever the logarithm rounded
    distinct, times = np.unique(values, return_counts=True)
    counts, _ = np.histogram(distinct, edges, weights=times)
    return {"edges": [_number(edge) for edge in edges], "counts": counts.astype(int).tolist()}


def _modes(codes: NDArray[np.uint8]) -> dict[str, int]:
    """Number of images by mode, the most frequent one first."""
    counts = np.bincount(codes, minlength=len(MODES))
    order = np.argsort(-counts, kind="stable")
    return {MODES[code]: int(counts[code]) for code in order if counts[code]}


def _bad(bad: Sequence[BadImage]) -> list[dict[str, str]]:
    return [{"file": plain_text(image.path), "reason": plain_text(image.reason)} for image in bad[:MAX_BAD_NAMED]]


def _number(value: Any) -> float:
    """Six digits, which is more than anybody reads."""
    return float(f"{float(value):.6g}")
