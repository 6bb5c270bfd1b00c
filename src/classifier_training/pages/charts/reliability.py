"""The reliability diagram: accuracy by confidence."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from classifier_training.pages.charts.axes import Axis, bottom_labels, horizontal_grid
from classifier_training.pages.charts.svg import INNER, Frame, Hit, chart, element, label, percent, stretched
from classifier_training.results.scores_file import CalibrationBin

SHARES = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), lambda value: f"{100 * value:.0f} %")


def reliability_diagram(
    bins: Sequence[CalibrationBin], hits: Sequence[str], description: str, before: Sequence[CalibrationBin] = ()
) -> Markup:
    """The accuracy of each bin against its confidence (Guo et al. 2017, "On Calibration of Modern Neural Networks").

    Columns are accuracies; the gap between accuracy and confidence is marked. Bins without images stay empty.

    Args:
        bins: From low to high confidence.
        hits: A text for each of them.
        description: What it shows, for screen readers.
        before: Those without the temperature, whose points are shown too; empty where there is none.
    """
    diagonal = element(
        "path", d=f"M0 {INNER:g}L{INNER:g} 0", class_="line diagonal", vector_effect="non-scaling-stroke"
    )
    filled = [one for one in bins if one.accuracy is not None]
    return chart(
        Frame(title="Reliability diagram", description=description, size="square", group="calibration"),
        horizontal_grid(SHARES),
        *map(_bin, filled),
        stretched(diagonal),
        *(_point(one, kind=2) for one in before if one.accuracy is not None),
        *(_point(one, kind=1) for one in filled),
        label("perfect calibration", 0.02, 0.02, class_="tick", dy=10),
        bottom_labels(SHARES, "confidence"),
        hits=[Hit((one.low + one.high) / 2, text) for one, text in zip(bins, hits, strict=True)],
    )


def _bin(one: CalibrationBin) -> Markup:
    """The column of the accuracy and the gap to the confidence."""
    accuracy, confidence = one.accuracy or 0.0, one.confidence if one.confidence is not None else one.accuracy or 0.0
    low, high = sorted((accuracy, confidence))
    margin = (one.high - one.low) * 0.06
    x, width = percent(one.low + margin), percent(one.high - one.low - 2 * margin)
    column = element("rect", x=x, width=width, y=percent(1 - accuracy), height=percent(accuracy), class_="column faint")
    kind = "over" if confidence > accuracy else "under"
    gap = element("rect", x=x, width=width, y=percent(1 - high), height=percent(high - low), class_=f"gap {kind}")
    return column + gap


def _point(one: CalibrationBin, kind: int) -> Markup:
    x = one.confidence if one.confidence is not None else (one.low + one.high) / 2
    return element("circle", cx=percent(x), cy=percent(1 - (one.accuracy or 0.0)), r=3.5, class_=f"dot kind-{kind}")
