"""The confusion matrix as a figure that is readable with two classes and with a thousand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.figures.rendering import new_figure, save_figure
from classifier_training.figures.text import shown
from classifier_training.metrics.confusion import Confusion, as_confusion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

MAX_NUMBERS: Final = 30
"""Up to this number of classes every cell has its number."""
MAX_NAMES: Final = 60
"""Up to this number of classes all of them are named."""
BLOCK_SIZE: Final = 40
"""Number of classes that are named where there are more."""
NUM_PAIRS: Final = 20
MAX_CELLS: Final = 400
"""Largest number of rows and columns of a matrix without names."""

_COLOURS: Final = "Blues"
_GAMMA: Final = 0.5  # a few errors are visible next to hundreds of correct predictions
_DARK: Final = 0.6  # share of the scale above which numbers are white


def plot_confusion(
    path: Path, confusion: Confusion | NDArray[np.int64], classes: Sequence[str], *, normalized: bool, title: str
) -> None:
    """Plots a confusion matrix; the row of a class without images is hatched.

    Up to `MAX_NUMBERS` classes the cells have numbers, up to `MAX_NAMES` all classes are named. With more, the block
    of the most confused classes is shown with names, the whole matrix without, and the most confused pairs are listed.

    Args:
        path: The PNG file.
        confusion: The cells, or all of them, int64 (K, K), rows are the true class, columns the predicted one.
        classes: K names.
        normalized: Show percentages of the images of a class instead of counts.
        title: The title.
    """
    cells, title = as_confusion(confusion), shown(title, 120)
    if len(classes) <= MAX_NAMES:
        figure = _plot_whole(cells.matrix(), classes, normalized=normalized, title=title)
    else:
        figure = _plot_block(cells, classes, normalized=normalized, title=title)
    save_figure(figure, path)


def confused_pairs(confusion: Confusion | NDArray[np.int64], num_pairs: int = NUM_PAIRS) -> list[tuple[int, int, int]]:
    """The most frequent errors: true class, predicted class and count, most frequent first."""
    errors = as_confusion(confusion).errors()
    order = np.argsort(-errors.counts, kind="stable")[:num_pairs]
    columns = (errors.labels[order], errors.predicted[order], errors.counts[order])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def most_confused(confusion: Confusion | NDArray[np.int64], num_classes: int = BLOCK_SIZE) -> list[int]:
    """The classes of the most frequent errors, in class order; filled up with the classes with most images."""
    cells, chosen = as_confusion(confusion), dict[int, None]()
    for true, predicted, _ in confused_pairs(cells, num_classes**2):
        if len(chosen.keys() | {true, predicted}) <= num_classes:
            chosen |= {true: None, predicted: None}
    for number in np.argsort(-cells.support, kind="stable").tolist():
        if len(chosen) < num_classes:
            chosen[number] = None
    return sorted(chosen)


def _plot_whole(confusion: NDArray[np.int64], classes: Sequence[str], *, normalized: bool, title: str) -> Figure:
    num_classes = len(classes)
    cell = 0.6 if num_classes <= 10 else 0.4 if num_classes <= MAX_NUMBERS else 0.22
    names = [shown(name) for name in classes]
    margin = 1.0 + 0.075 * max(map(len, names))
    side = max(2.2, cell * num_classes) + margin
    figure = new_figure(side + 0.9, side + 0.2)
    axes = figure.add_subplot()
    image = _heat_map(axes, confusion, normalized=normalized)
    _name_axes(axes, names, size=9 if num_classes <= MAX_NUMBERS else 7)
    if num_classes <= MAX_NUMBERS:
        _write_numbers(axes, confusion, normalized=normalized, size=9 if num_classes <= 10 else 7)
    figure.colorbar(image, ax=axes, shrink=0.7, label="% of the true class" if normalized else "images")
    axes.set_title(title, fontsize=10)
    return figure


def _plot_block(confusion: Confusion, classes: Sequence[str], *, normalized: bool, title: str) -> Figure:
    block, support = most_confused(confusion), confusion.support
    figure = new_figure(17.5, 10.5)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[10.5, 7])[0]
    axes = left.add_subplot()
    image = _heat_map(axes, confusion.part(block), normalized=normalized, totals=support[block])
    _name_axes(axes, [shown(classes[number]) for number in block], size=7)
    axes.set_title(f"the {len(block)} most confused of {len(classes)} classes", fontsize=10)
    left.colorbar(image, ax=axes, shrink=0.7, label="% of the true class" if normalized else "images")
    whole, listed = right.subplots(2, 1, height_ratios=[1.25, 1])
    if len(classes) <= MAX_CELLS:
        _heat_map(whole, confusion.matrix(), normalized=normalized)
    else:
        _reduced_heat_map(whole, confusion, support, normalized=normalized)
    whole.set_title(f"all {len(classes)} classes, in class order", fontsize=10)
    whole.set_xlabel("predicted class, by number", fontsize=8)
    whole.set_ylabel("true class, by number", fontsize=8)
    whole.tick_params(labelsize=7)
    _list_pairs(listed, confusion, support, classes)
    figure.suptitle(title, fontsize=11)
    return figure


def _heat_map(
    axes: Axes, confusion: NDArray[np.int64], *, normalized: bool, totals: NDArray[np.int64] | None = None
) -> AxesImage:
    """Colours by the square root of a value; ``totals`` are the images of each row, where columns are left out."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    totals = confusion.sum(axis=1) if totals is None else totals
    values, top = _scaled(confusion, totals, normalized=normalized)
    values[totals == 0] = np.nan
    image = _show_values(axes, values, top, len(confusion))
    if len(totals) <= MAX_NAMES:
        diagonal = [Rectangle((position - 0.5, position - 0.5), 1, 1) for position in range(len(totals))]
        frames = PatchCollection(diagonal, facecolors="none", edgecolors="0.45", linewidths=0.8)
        axes.add_collection(frames, autolim=False)
    for row in np.flatnonzero(totals == 0).tolist():
        band = Rectangle((-0.5, row - 0.5), len(confusion), 1, facecolor="0.96", edgecolor="0.75", linewidth=0)
        band.set_hatch("////" if len(totals) <= MAX_NAMES else "")
        axes.add_patch(band)
    return image


def _show_values(axes: Axes, values: NDArray[np.float64], top: float, side: int) -> AxesImage:
    from matplotlib.colors import PowerNorm

    return axes.imshow(
        values,
        cmap=_COLOURS,
        norm=PowerNorm(_GAMMA, 0, top),
        interpolation="nearest",
        extent=(-0.5, side - 0.5, side - 0.5, -0.5),
    )


def _reduced_heat_map(axes: Axes, confusion: Confusion, totals: NDArray[np.int64], *, normalized: bool) -> None:
    """The largest value of each block of cells, where there are more cells than pixels, so that no error is lost.

    Blocks of classes without images are grey.
    """
    factor = -(-confusion.num_classes // MAX_CELLS)
    side = -(-confusion.num_classes // factor)
    has_images = np.zeros(side, np.bool_)
    np.logical_or.at(has_images, np.arange(confusion.num_classes) // factor, totals > 0)
    blocks = np.where(has_images[:, None], np.zeros((side, side)), np.nan)
    values = 100 * confusion.counts / totals[confusion.labels] if normalized else confusion.counts.astype(np.float64)
    np.maximum.at(blocks, (confusion.labels // factor, confusion.predicted // factor), values)
    top = 100.0 if normalized else max(1.0, float(values.max(initial=0)))
    axes.set_facecolor("0.96")  # imshow leaves what is not a number transparent
    _show_values(axes, blocks, top, confusion.num_classes)


def _scaled(
    confusion: NDArray[np.int64], totals: NDArray[np.int64], *, normalized: bool
) -> tuple[NDArray[np.float64], float]:
    """Percent of the images of a row, or counts, and the end of their scale."""
    if normalized:
        return 100 * confusion / np.maximum(totals, 1)[:, None], 100.0
    return confusion.astype(np.float64), max(1.0, float(confusion.max(initial=0)))


def _name_axes(axes: Axes, names: Sequence[str], size: float) -> None:
    """Names the classes, and adds lines between the cells; a grid of minor ticks would take ten times as long."""
    from matplotlib.collections import LineCollection

    positions = range(len(names))
    axes.set_xticks(positions, names, rotation=90, fontsize=size)
    axes.set_yticks(positions, names, fontsize=size)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted class", fontsize=size + 1)
    axes.set_ylabel("true class", fontsize=size + 1)
    ends = (-0.5, len(names) - 0.5)
    edges = [position - 0.5 for position in positions[1:]]
    lines = [[(end, edge) for end in ends] for edge in edges] + [[(edge, end) for end in ends] for edge in edges]
    axes.add_collection(LineCollection(lines, colors="0.9", linewidths=0.5), autolim=False)


def _write_numbers(axes: Axes, confusion: NDArray[np.int64], *, normalized: bool, size: float) -> None:
    """The counts, or percent without sign; nothing where a cell is empty."""
    totals = confusion.sum(axis=1)
    values, top = _scaled(confusion, totals, normalized=normalized)
    for row, column in zip(*(indices.tolist() for indices in np.nonzero(confusion)), strict=True):
        value = float(values[row, column])
        options: dict[str, Any] = {"color": "white" if (value / top) ** _GAMMA > _DARK else "black", "in_layout": False}
        axes.text(column, row, _number(value, normalized=normalized), ha="center", va="center", size=size, **options)
    for row in np.flatnonzero(totals == 0).tolist():
        box = {"facecolor": "0.96", "edgecolor": "none", "pad": 1.5}
        axes.text(
            (len(confusion) - 1) / 2, row, "no images", ha="center", va="center", size=size, color="0.35", bbox=box
        )


def _number(value: float, *, normalized: bool) -> str:
    if not normalized:
        return f"{value:.0f}" if value < 10_000 else f"{value / 1000:.0f}k"
    return "<1" if round(value) == 0 else f"{value:.0f}"


def _list_pairs(axes: Axes, confusion: Confusion, totals: NDArray[np.int64], classes: Sequence[str]) -> None:
    axes.axis("off")
    pairs = confused_pairs(confusion)
    axes.set_title("most frequent errors" if pairs else "no errors", fontsize=10, loc="left")
    for line, (true, predicted, count) in enumerate(pairs):
        height = 1 - (line + 0.5) / NUM_PAIRS
        columns = (
            (0.05, "right", f"{count}"),
            (0.06, "left", f"of {totals[true]}"),
            (0.17, "left", shown(classes[true], 26)),
            (0.57, "left", f"→ {shown(classes[predicted], 26)}"),
        )
        for position, side, text in columns:
            axes.text(position, height, text, fontsize=8, ha=side, va="center", transform=axes.transAxes)
