"""The reliability diagram: how often a model is right when it is so sure."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from classifier_training.pages.charts.axes import Axis, bottom_labels, horizontal_grid
from classifier_training.pages.charts.svg import INNER, Hit, chart, element, label, percent, stretched
from classifier_training.results.scores_file import CalibrationBin

SHARES = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), lambda value: f"{100 * value:.0f} %")


def reliability_diagram(bins: Sequence[CalibrationBin], hits: Sequence[str], description: str) -> Markup:
    """Draws the accuracy of each bin against its confidence (Guo et al. 2017, "On Calibration of Modern Neural Networks").

    Columns are accuracies; what lies between a column and the diagonal is drawn apart: the model is wrong about itself by
    so much. Bins without images stay empty.

    Args:
        bins: From low to high confidence.
        hits: What is said of each of them.
        description: What it shows, for those who do not see it.
    """  # noqa: E501
    diagonal = element(
        "path", d=f"M0 {INNER:g}L{INNER:g} 0", class_="line diagonal", vector_effect="non-scaling-stroke"
    )
    return chart(
        horizontal_grid(SHARES),
        *(_bin(one) for one in bins if one.accuracy is not None),
        stretched(diagonal),
        *(_point(one) for one in bins if one.accuracy is not None),
        label("as sure as it is right", 0.02, 0.02, class_="tick", dy=10),
        bottom_labels(SHARES, "how sure the model is"),
        title="Reliability diagram",
        description=description,
        size="square",
        hits=[Hit((one.low + one.high) / 2, text) for one, text in zip(bins, hits, strict=True)],
        group="calibration",
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


def _point(one: CalibrationBin) -> Markup:
    x = one.confidence if one.confidence is not None else (one.low + one.high) / 2
    return element("circle", cx=percent(x), cy=percent(1 - (one.accuracy or 0.0)), r=3.5, class_="dot kind-1")
