"""Lines over epochs or over a threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from classifier_training.pages.charts.axes import Axis, bottom_labels, epoch_axis, horizontal_grid, tick_room
from classifier_training.pages.charts.svg import INNER, Frame, Hit, chart, element, label, number, percent, stretched

MOST_DOTS = 40  # more points than this are a line without dots


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        name: For the legend.
        values: Its heights; None and values that are not finite are gaps.
        kind: 1, 2, 3 …: colour and pattern.
        intervals: Low and high end of each value, marked by a vertical line; None, or an empty sequence: none.
        has_dots: Whether its points are marked where there are few.
    """

    name: str
    values: Sequence[float | None]
    kind: int = 1
    intervals: Sequence[tuple[float, float] | None] = ()
    has_dots: bool = True


def line_chart(
    frame: Frame,
    x_values: Sequence[float],
    lines: Sequence[Line],
    *,
    x_axis: Axis,
    y_axis: Axis,
    hits: Sequence[str] = (),
    marks: Sequence[tuple[float, str]] = (),
) -> Markup:
    """Lines with common axes.

    Args:
        frame: Title, description and size.
        x_values: Horizontal positions of all points.
        lines: The lines, each with a value for each of ``x_values``.
        x_axis: Contains ``x_values``.
        y_axis: Contains the values.
        hits: A text for each of ``x_values``.
        marks: Values of the horizontal axis that are marked by a line, each with its name.
    """
    positions = [x_axis.share(x) for x in x_values]
    marked: list[Markup] = []
    for place, (value, name) in enumerate(marks):
        x = x_axis.share(value)
        dx, anchor = (-6, "end") if x > 0.5 else (6, "start")
        marked.append(element("line", x1=percent(x), x2=percent(x), y1="0", y2="100%", class_="mark"))
        marked.append(label(name, x, 0, class_="mark-name", dx=dx, dy=11 + 15 * place, anchor=anchor))
    return chart(
        replace(frame, size=f"{frame.size} {tick_room(y_axis)}".strip()),
        horizontal_grid(y_axis),
        bottom_labels(x_axis, frame.x_name),
        *marked,
        *(_draw(positions, line, y_axis) for line in lines),
        hits=[Hit(position, text) for position, text in zip(positions, hits, strict=True)] if hits else (),
    )


def epoch_chart(
    title: str,
    description: str,
    epochs: Sequence[float],
    lines: Sequence[Line],
    *,
    y_axis: Axis,
    hits: Sequence[str],
    mark: tuple[float, str] | None = None,
    group: str = "epochs",
) -> dict[str, Any]:
    """The title, image and legend of a chart over epochs, which shows the same hit as the others of its group."""
    frame = Frame(title=title, description=description, x_name="epoch", group=group)
    marks = [] if mark is None else [mark]
    svg = line_chart(frame, epochs, lines, x_axis=epoch_axis(epochs), y_axis=y_axis, hits=hits, marks=marks)
    return {"title": title, "svg": svg, "legend": [(line.kind, line.name) for line in lines]}


def _draw(positions: Sequence[float], line: Line, axis: Axis) -> Markup:
    """The line through its points, broken at gaps, and dots where there are few points or one is isolated."""
    points = [
        None if value is None or not math.isfinite(value) else (x, 1 - axis.share(value))
        for x, value in zip(positions, line.values, strict=True)
    ]
    known = [point for point in points if point is not None]
    dots = known if len(known) <= MOST_DOTS else _isolated(points)
    path = element("path", d=_path(points), class_=f"line kind-{line.kind}", vector_effect="non-scaling-stroke")
    circles = [element("circle", cx=percent(x), cy=percent(y), r=2.5, class_=f"dot kind-{line.kind}") for x, y in dots]
    if not line.has_dots:
        circles = []
    return Markup("").join([stretched(path), *_interval_bars(positions, line, axis), *circles])


def _interval_bars(positions: Sequence[float], line: Line, axis: Axis) -> list[Markup]:
    return [
        element(
            "line", x1=percent(x), x2=percent(x), y1=percent(1 - axis.share(ends[0])),
            y2=percent(1 - axis.share(ends[1])), class_=f"error kind-{line.kind}",
        )
        for x, value, ends in zip(positions, line.values, line.intervals, strict=False)
        if value is not None and ends is not None
    ]  # fmt: skip


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    steps = [
        f"{'M' if before is None else 'L'}{number(INNER * point[0])} {number(INNER * point[1])}"
        for before, point in zip([None, *points], points, strict=False)
        if point is not None
    ]
    return "".join(steps)


def _isolated(points: Sequence[tuple[float, float] | None]) -> list[tuple[float, float]]:
    """Points with a gap on both sides, which a line does not show."""
    padded = [None, *points, None]
    return [
        point
        for before, point, after in zip(padded, padded[1:], padded[2:], strict=False)
        if point is not None and before is None and after is None
    ]
