"""The number of images of each class and split, and their sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from classifier_training.figures.axes import SPLIT_COLOURS, plain_axes
from classifier_training.figures.rendering import new_figure
from classifier_training.figures.text import shown
from classifier_training.run.statistics import QUANTITIES, Histogram, Statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CLASSES_NAMED: Final = 40
"""With more classes than this the figure shows a curve over all, with the names of the largest and smallest ones."""
NUM_EXTREMES: Final = 3
_LOG_RATIO: Final = 30.0
"""From this ratio of the largest to the smallest training class on, the axis is logarithmic."""


def plot_images_per_class(statistics: Statistics) -> Figure:
    """Plots the number of images of each class by split, the largest class of the training split first."""
    classes = statistics.classes
    counts = {split: np.array(values) for split, values in statistics.counts.items()}
    order = np.argsort(-counts["train"], kind="stable")
    counts = {split: values[order] for split, values in counts.items()}
    names = [classes[position] for position in order]
    return _bars(names, counts) if len(names) <= MAX_CLASSES_NAMED else _curves(names, counts)


def plot_image_sizes(statistics: Statistics) -> Figure:
    """Plots how wide and high the images are, and their aspect ratios."""
    figure = new_figure(11, 3.4)
    titles = ("width, pixels", "height, pixels", "aspect ratio, width / height")
    panels = zip(figure.subplots(1, 3), QUANTITIES, titles, strict=True)
    for axes, name, title in panels:
        _histogram(axes, statistics.histograms[name], statistics.spreads[name].median)
        plain_axes(axes, title)
        axes.set_ylabel("images" if name == "width" else "")
    return figure


def _bars(names: Sequence[str], counts: Mapping[str, Any]) -> Figure:
    """One group of bars a class."""
    figure = new_figure(8, 1.3 + len(names) * (0.16 + 0.14 * len(counts)))
    axes = figure.subplots()
    positions = np.arange(len(names))
    height = 0.82 / len(counts)
    is_log = _is_wide(counts)
    for number, (split, values) in enumerate(counts.items()):
        offset = (number - (len(counts) - 1) / 2) * height
        bars = axes.barh(positions + offset, values, height, color=SPLIT_COLOURS[split], label=split, log=is_log)
        axes.bar_label(bars, [str(value) for value in values], padding=3, fontsize=7, color="#555555")
    axes.set_yticks(positions, [shown(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.08)
    if is_log:
        axes.set_xlim(left=0.5)  # a bar of one image is visible, one of none is not
    plain_axes(axes, _title(counts), grid="x")
    axes.set_xlabel("images" + (", logarithmic" if is_log else ""))
    figure.legend(loc="outside lower right", ncols=len(counts), frameon=False, fontsize=9)
    return figure


def _curves(names: Sequence[str], counts: Mapping[str, Any]) -> Figure:
    """One line a split over the classes by size."""
    figure = new_figure(9, 5)
    axes = figure.subplots()
    is_log = _is_wide(counts)
    ranks = np.arange(1, len(names) + 1)
    for split, values in counts.items():
        # the other splits are noise around the training split, and behind it
        width, order = (1.8, 3) if split == "train" else (0.7, 2)
        axes.step(ranks, values, where="mid", color=SPLIT_COLOURS[split], label=split, linewidth=width, zorder=order)
    if is_log:
        axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0.5, len(names) + 0.5)
    plain_axes(axes, _title(counts))
    axes.set_xlabel(
        "class, the largest first\n"
        f"largest: {_extremes(names, counts['train'], range(NUM_EXTREMES))}\n"
        f"smallest: {_extremes(names, counts['train'], range(len(names) - NUM_EXTREMES, len(names)))}",
        fontsize=9,
    )
    axes.set_ylabel("images" + (", logarithmic" if is_log else ""))
    axes.legend(frameon=False, fontsize=9)
    return figure


def _histogram(axes: Axes, histogram: Histogram, median: float) -> None:
    edges, values = np.array(histogram.edges), np.array(histogram.counts)
    if len(values) == 1:  # all values are the same: a bar that is wide enough to be visible
        middle = edges.mean()
        edges = np.array([middle * 0.98, middle * 1.02])
    axes.stairs(values, edges, fill=True, color=SPLIT_COLOURS["train"])
    if len(values) > 1 and not np.allclose(np.diff(edges), edges[1] - edges[0], rtol=0.02):
        _log_axis(axes, edges)
    axes.axvline(median, color="#333333", linewidth=1, linestyle="--", label=f"median {median:.4g}")
    axes.set_ylim(0, 1.18 * values.max())
    axes.legend(frameon=False, fontsize=8, loc="upper right")


def _log_axis(axes: Axes, edges: Any) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    axes.set_xscale("log")
    ticks = np.geomspace(edges[0], edges[-1], 5)
    axes.set_xticks([float(f"{tick:.2g}") for tick in ticks])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _is_wide(counts: Mapping[str, Any]) -> bool:
    return bool(counts["train"].max() > _LOG_RATIO * max(1, counts["train"].min()))


def _title(counts: Mapping[str, Any]) -> str:
    numbers = ", ".join(f"{split} {values.sum():,}" for split, values in counts.items())
    return f"images per class ({numbers})"


def _extremes(names: Sequence[str], values: Any, positions: range) -> str:
    return ", ".join(f"{shown(names[position])} ({values[position]:,})" for position in positions)
