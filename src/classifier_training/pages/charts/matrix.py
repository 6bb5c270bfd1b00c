"""The confusion matrix as an image: on paper, and where no script runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from classifier_training.pages.charts.svg import element, one_line

STRONGEST = 0.5  # opacity of the fullest cell: numbers stay readable on it in both colour schemes
WEAKEST = 0.2  # share of it for an almost empty cell
LONGEST_NAME = 18
MOST_WRITTEN = 30  # classes; with more of them a cell is too small for its number
_LETTER = 6.4  # about the width of a letter, pixels
_CORNER = 88.0  # room for the names of the axes, pixels


def matrix_chart(confusion: NDArray[np.int64], classes: Sequence[str], title: str, description: str) -> Markup:
    """The counts of a confusion matrix (K, K), whose rows are the true class, with the K class names.

    The strength of a cell is the square root of its share of its row.
    """
    num_classes = len(classes)
    cell = 34 if num_classes <= 12 else 24 if num_classes <= MOST_WRITTEN else 13
    names = [one_line(name, LONGEST_NAME) for name in classes]
    margin = max(26 + _LETTER * max(len(name) for name in names), _CORNER)
    side = cell * num_classes
    cells = [
        _cell(row, column, int(confusion[row, column]), int(confusion[row].sum()), cell, num_classes <= MOST_WRITTEN)
        for row, column in zip(*np.nonzero(confusion), strict=True)
    ]
    width, height = margin + side + 4, margin + side + 4
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        element("text", "predicted →", x=-8, y=-24, text_anchor="end", class_="tick"),
        element("text", "true ↓", x=-8, y=-8, text_anchor="end", class_="tick"),
        *_grid_and_names(names, cell),
        *cells,
        viewBox=f"{-margin:g} {-margin:g} {width:g} {height:g}",
        width=width,
        height=height,
        class_="matrix-drawing",
        role="img",
        aria_label=f"{title}. {description}",
    )


def _grid_and_names(names: Sequence[str], size: int) -> Iterator[Markup]:
    for edge in range(0, size * len(names) + 1, size):
        yield element("line", x1=0, x2=size * len(names), y1=edge, y2=edge, class_="grid")
        yield element("line", x1=edge, x2=edge, y1=0, y2=size * len(names), class_="grid")
    for position, name in enumerate(names):
        y, x = (position + 0.5) * size, (position + 0.5) * size + 4
        yield element("text", name, x=-8, y=y, dy=4, text_anchor="end", class_="matrix-name")
        yield element("text", name, x=x, y=-8, transform=f"rotate(-90 {x:g} -8)", class_="matrix-name")


def _cell(row: int, column: int, count: int, of_row: int, size: int, is_written: bool) -> Markup:
    kind = "correct" if row == column else "wrong"
    box = element(
        "rect", x=column * size, y=row * size, width=size, height=size, class_=f"cell {kind}",
        fill_opacity=STRONGEST * (WEAKEST + (1 - WEAKEST) * math.sqrt(count / of_row)),
    )  # fmt: skip
    if not is_written:
        return box
    middle = {"x": (column + 0.5) * size, "y": (row + 0.5) * size}
    return box + element("text", str(count), **middle, text_anchor="middle", dy=4, class_="cell-count")
