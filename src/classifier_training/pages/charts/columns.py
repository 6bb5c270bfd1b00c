"""Columns: one for each class, bin or length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from classifier_training.pages.charts.axes import Axis, bottom_labels, horizontal_grid, tick_room
from classifier_training.pages.charts.svg import Hit, chart, element, label, percent

GAP = 0.16  # share of a column's place that stays empty, where there is room


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        low: Left end, on the horizontal axis.
        high: Right end.
        value: Height; None draws nothing.
        text: What is said of it.
    """

    low: float
    high: float
    value: float | None
    text: str


def column_chart(
    columns: Sequence[Column],
    *,
    x_axis: Axis | None,
    y_axis: Axis,
    x_name: str,
    title: str,
    description: str,
    kind: int = 1,
    size: str = "",
    group: str | None = None,
    over: Markup | None = None,
) -> Markup:
    """Draws columns that stand on a horizontal axis.

    Args:
        columns: From left to right.
        x_axis: Holds their ends; None: from the first to the last one, with nothing written under them.
        y_axis: Starts at 0 and holds all heights.
        x_name: What the horizontal axis shows.
        title: Name of the chart.
        description: What it shows, for those who do not see it.
        kind: Colour.
        size: Further CSS classes.
        group: Charts of one group show the same hit.
        over: What is drawn above the columns.
    """
    shown = x_axis or _axis_of(columns)
    gap = GAP if len(columns) <= 60 else 0.0
    return chart(
        horizontal_grid(y_axis),
        *(_column(column, shown, y_axis, gap, kind) for column in columns if column.value),
        bottom_labels(shown, x_name),
        over or Markup(""),
        title=title,
        description=description,
        size=f"{size} {tick_room(y_axis)}".strip(),
        hits=[Hit(shown.share((column.low + column.high) / 2), column.text) for column in columns],
        group=group,
    )


def level(values: Sequence[float], axis: Axis, name: str, kind: int) -> Markup:
    """Points at heights over columns of equal width: what each of them is compared with.

    Args:
        values: A height for each column.
        axis: The vertical axis.
        name: For the legend of a chart of few columns; empty: none.
        kind: Colour.
    """
    width = 1 / max(len(values), 1)
    marks = [
        element(
            "line", x1=percent(width * place), x2=percent(width * (place + 1)), y1=percent(1 - axis.share(value)),
            y2=percent(1 - axis.share(value)), class_=f"line kind-{kind}",
        )
        for place, value in enumerate(values)
    ]  # fmt: skip
    named = label(name, 1, 0, class_="tick", dy=-4, anchor="end") if name else Markup("")
    return Markup("").join([*marks, named])


def _column(column: Column, x_axis: Axis, y_axis: Axis, gap: float, kind: int) -> Markup:
    left, right = x_axis.share(column.low), x_axis.share(column.high)
    height = y_axis.share(column.value or 0.0)
    margin = (right - left) * gap / 2
    return element(
        "rect", x=percent(left + margin), width=percent(right - left - 2 * margin), y=percent(1 - height),
        height=percent(height), class_=f"column kind-{kind}",
    )  # fmt: skip


def _axis_of(columns: Sequence[Column]) -> Axis:
    low = columns[0].low if columns else 0.0
    return Axis(low, columns[-1].high if columns else 1.0, (), str)
