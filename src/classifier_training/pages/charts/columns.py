"""Columns: one for each class, bin or length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from markupsafe import Markup

from classifier_training.pages.charts.axes import Axis, bottom_labels, horizontal_grid, tick_room
from classifier_training.pages.charts.svg import Frame, Hit, chart, element, percent

GAP = 0.16  # share of a column's width that stays empty, where there is room


class Column(NamedTuple):
    """A column from ``low`` to ``high``; its height, None: no column; and the text shown when it is pointed at."""

    low: float
    high: float
    value: float | None
    text: str


def column_chart(
    frame: Frame,
    columns: Sequence[Column],
    *,
    x_axis: Axis | None,
    y_axis: Axis,
    kind: int = 1,
    over: Markup | None = None,
) -> Markup:
    """Columns that stand on a horizontal axis, from left to right, with further marks on top of them.

    The vertical axis starts at 0 and contains all heights; without a horizontal one, columns fill the chart unlabelled.
    """
    shown = x_axis or Axis(columns[0].low if columns else 0.0, columns[-1].high if columns else 1.0, (), str)
    gap = GAP if len(columns) <= 60 else 0.0
    return chart(
        replace(frame, size=f"{frame.size} {tick_room(y_axis)}".strip()),
        horizontal_grid(y_axis),
        *(_column(column, shown, y_axis, gap, kind) for column in columns if column.value),
        bottom_labels(shown, frame.x_name),
        over or Markup(""),
        hits=[Hit(shown.share((column.low + column.high) / 2), column.text) for column in columns],
    )


def level(values: Sequence[float], axis: Axis, kind: int) -> Markup:
    """Lines at heights over columns of equal width, one for each column, for comparison."""
    width = 1 / max(len(values), 1)
    marks = [
        element(
            "line", x1=percent(width * number), x2=percent(width * (number + 1)), y1=percent(1 - axis.share(value)),
            y2=percent(1 - axis.share(value)), class_=f"line kind-{kind}",
        )
        for number, value in enumerate(values)
    ]  # fmt: skip
    return Markup("").join(marks)


def _column(column: Column, x_axis: Axis, y_axis: Axis, gap: float, kind: int) -> Markup:
    left, right = x_axis.share(column.low), x_axis.share(column.high)
    height = y_axis.share(column.value or 0.0)
    margin = (right - left) * gap / 2
    return element(
        "rect", x=percent(left + margin), width=percent(right - left - 2 * margin), y=percent(1 - height),
        height=percent(height), class_=f"column kind-{kind}",
    )  # fmt: skip
