"""Training curves: loss, accuracy, learning rate and images per second by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from classifier_training.figures.axes import SPLIT_COLOURS, label_epochs, plain_axes
from classifier_training.figures.rendering import new_figure
from classifier_training.figures.text import shown
from classifier_training.files.tables import read_rows
from classifier_training.metrics.best_epoch import Mode, find_best

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, float]
"""The values of one epoch by name, ``epoch`` among them, from 0."""

MAX_MARKED_EPOCHS: Final = 40
"""With more epochs than this the points are not marked, because they would hide the line."""
_MAX_LINES: Final = 6
_OTHER_COLOURS: Final = ("#b279a2", "#72b7b2", "#9d755d", "#e45756", "#eeca3b", "#bab0ac")
_KNOWN_COLOURS: Final = {
    "train/loss": SPLIT_COLOURS["train"],
    "val/loss": SPLIT_COLOURS["val"],
    "val/top1": SPLIT_COLOURS["val"],
    "val/balanced_accuracy": "#b279a2",
}
_ACCURACIES: Final = ("top1", "accuracy", "acc")


def read_history(metrics: Path, timings: Path | None = None) -> list[dict[str, float]]:
    """The rows of ``metrics.csv`` and ``timings.csv``, joined by epoch.

    Values that are not numbers are left out; a missing file has no rows.
    """
    rows: dict[int, dict[str, float]] = {}
    for path in (metrics, timings):
        if path is None or not path.is_file():
            continue
        header, *cells = read_rows(path)
        for row in cells:
            numbers = _numbers(dict(zip(header, row, strict=True)))
            if "epoch" in numbers:
                rows.setdefault(int(numbers["epoch"]), {}).update(numbers)
    return [rows[epoch] for epoch in sorted(rows)]


def plot_history(rows: Sequence[Row], monitor: str = "val/top1", mode: Mode = "max") -> Figure:
    """Plots the curves of a training.

    Args:
        rows: One for each epoch, in order. A panel without values is left out.
        monitor: The metric that decides which epoch is the best.
        mode: Whether a higher or a lower value of it is better.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    panels = [
        ("loss", [name for name in names if "loss" in name]),
        ("accuracy", [name for name in names if name.lower().endswith(_ACCURACIES)]),
        ("learning rate", [name for name in names if name == "lr" or name.startswith("lr-")]),
        ("training speed, images/s", [name for name in names if name == "images_per_second"]),
    ]
    panels = [(title, lines) for title, lines in panels if lines] or [("no metric was logged", [])]
    best = find_best([row.get(monitor) for row in rows], [row.get("val/loss") for row in rows], mode)
    num_columns = min(2, len(panels))
    num_rows = math.ceil(len(panels) / num_columns)
    figure = new_figure(5.2 * num_columns, 3.4 * num_rows)
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes, (title, lines) in zip(grid.flat, panels, strict=False):
        _plot_panel(axes, title, lines[:_MAX_LINES], rows)
        if best is not None and title in {"loss", "accuracy"}:
            epoch = int(rows[best]["epoch"]) + 1
            axes.axvline(epoch, color="#888888", linewidth=1, linestyle="--", label=f"best: epoch {epoch}", zorder=0)
        if title in {"loss", "accuracy"}:
            axes.legend(fontsize=8, frameon=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    return figure


def _plot_panel(axes: Axes, title: str, names: Sequence[str], rows: Sequence[Row]) -> None:
    colours = iter(_OTHER_COLOURS)
    marker = "o" if len(rows) <= MAX_MARKED_EPOCHS else ""
    for name in names:
        points = [(row["epoch"] + 1, row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
        colour = _KNOWN_COLOURS.get(name) or next(colours)
        epochs, values = zip(*points, strict=True) if points else ((), ())
        label = shown(name)
        label = f" {label}" if label.startswith("_") else label  # matplotlib keeps these out of a legend
        axes.plot(epochs, values, marker=marker, markersize=4, color=colour, label=label)
    plain_axes(axes, title)
    label_epochs(axes)
    if title == "training speed, images/s":
        axes.set_ylim(0, 1.1 * max(1.0, axes.get_ylim()[1]))


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    numbers = {}
    for name, text in row.items():
        try:
            numbers[name] = float(text)
        except ValueError:
            continue
    return numbers
