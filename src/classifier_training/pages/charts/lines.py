"""Lines over epochs or over a threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from classifier_training.pages.charts.axes import Axis, bottom_labels, horizontal_grid, tick_room
from classifier_training.pages.charts.svg import INNER, Hit, chart, element, label, number, percent, stretched

MOST_DOTS = 40  # more points than this are a line without dots


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        name: What it is, for the legend.
        values: Its heights; None, and what is not finite, is a gap.
        kind: 1, 2, 3 …: colour and pattern of the line.
    """

    name: str
    values: Sequence[float | None]
    kind: int = 1


def line_chart(
    x_values: Sequence[float],
    lines: Sequence[Line],
    *,
    x_axis: Axis,
    y_axis: Axis,
    x_name: str,
    title: str,
    description: str,
    hits: Sequence[str] = (),
    group: str | None = None,
    mark: tuple[float, str] | None = None,
    size: str = "",
) -> Markup:
    """Draws lines with a common axis.

    Args:
        x_values: Horizontal positions of all points.
        lines: The lines, each with a value for each of ``x_values``.
        x_axis: Holds ``x_values``.
        y_axis: Holds the values.
        x_name: What the horizontal axis shows.
        title: Name of the chart.
        description: What it shows, for those who do not see it.
        hits: What is said of each of ``x_values``.
        group: Charts of one group show the same hit.
        mark: A value of the horizontal axis that is marked by a line, and its name.
        size: Further CSS classes.
    """
    places = [x_axis.share(x) for x in x_values]
    drawn = [_draw(places, line, y_axis) for line in lines]
    marked = Markup("") if mark is None else _mark(x_axis.share(mark[0]), mark[1])
    return chart(
        horizontal_grid(y_axis),
        bottom_labels(x_axis, x_name),
        marked,
        *drawn,
        title=title,
        description=description,
        size=f"{size} {tick_room(y_axis)}".strip(),
        hits=[Hit(place, text) for place, text in zip(places, hits, strict=True)] if hits else (),
        group=group,
    )


def _draw(places: Sequence[float], line: Line, axis: Axis) -> Markup:
    """The line through its points, broken at gaps, and the points where there are few of them or they stand alone."""
    points = [
        None if value is None or not math.isfinite(value) else (x, 1 - axis.share(value))
        for x, value in zip(places, line.values, strict=True)
    ]
    known = [point for point in points if point is not None]
    dots = known if len(known) <= MOST_DOTS else _alone(points)
    path = element("path", d=_path(points), class_=f"line kind-{line.kind}", vector_effect="non-scaling-stroke")
    circles = [element("circle", cx=percent(x), cy=percent(y), r=2.5, class_=f"dot kind-{line.kind}") for x, y in dots]
    return Markup("").join([stretched(path), *circles])


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    words: list[str] = []
    pen = "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        words.append(f"{pen}{number(INNER * point[0])} {number(INNER * point[1])}")
        pen = "L"
    return "".join(words)


def _alone(points: Sequence[tuple[float, float] | None]) -> list[tuple[float, float]]:
    """Points with a gap on both sides, which a line does not show."""
    padded = [None, *points, None]
    return [
        point
        for before, point, after in zip(padded, padded[1:], padded[2:], strict=False)
        if point is not None and before is None and after is None
    ]


def _mark(place: float, name: str) -> Markup:
    anchor = "end" if place > 0.5 else "start"
    line = element("line", x1=percent(place), x2=percent(place), y1="0", y2="100%", class_="mark")
    return line + label(name, place, 0, class_="mark-name", dx=-6 if place > 0.5 else 6, dy=11, anchor=anchor)
