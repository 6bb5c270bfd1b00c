"""Whether the model is right as often as it is sure, and what is gained by leaving the unsure to a person."""

from __future__ import annotations

from collections.abc import Sequence

from classifier_training.pages.charts.axes import axis_over, share_axis
from classifier_training.pages.charts.columns import Column, column_chart
from classifier_training.pages.charts.lines import Line, line_chart
from classifier_training.pages.charts.reliability import SHARES, reliability_diagram
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.sections.section import Section
from classifier_training.pages.wording import count, percentage
from classifier_training.results.scores_file import CalibrationBin, CoveragePoint

CALIBRATION, COVERAGE = "calibration", "coverage"
_TITLES = {CALIBRATION: "Calibration", COVERAGE: "Coverage against accuracy"}
TARGETS = (0.9, 0.95, 0.98, 0.99, 1.0)
WRITTEN = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # thresholds in the table
SLIGHT = 0.02  # difference of confidence and accuracy that nobody notices


def calibration_section(data: RunData) -> Section:
    """The reliability diagram and the number of images in each bin."""
    scored = data.final or data.validation
    if scored is None or not any(one.count for one in scored.calibration.bins):
        return Section(CALIBRATION, _TITLES[CALIBRATION], empty="Nothing has been scored yet.")
    bins = scored.calibration.bins
    texts = [_bin_text(one) for one in bins]
    sentence = calibration_sentence(scored)
    counts = column_chart(
        [Column(one.low, one.high, one.count, text) for one, text in zip(bins, texts, strict=True)],
        x_axis=SHARES,
        y_axis=axis_over([one.count for one in bins], "{:,.0f}".format, low=0, num_ticks=2, whole=True),
        x_name="how sure the model is",
        title="Photos by confidence",
        description=f"How many of {count(scored.num_images, 'photo')} were answered with which confidence.",
        kind=3,
        size="low",
        group="calibration",
    )
    values = {
        "diagram": reliability_diagram(bins, texts, sentence),
        "counts": counts,
        "error": scored.calibration.expected_calibration_error,
        "num_bins": len(bins),
        "bins": [one for one in bins if one.count],
    }
    return Section(CALIBRATION, _TITLES[CALIBRATION], lead=sentence, values=values)


def calibration_sentence(scored: ScoredData) -> str:
    """Whether the model is too sure or not sure enough, and by how much."""
    confidence, accuracy = _means(scored.calibration.bins)
    sure = f"On average it is {percentage(confidence, 0)} sure and right {percentage(accuracy, 0)} of the time"
    if abs(confidence - accuracy) < SLIGHT:
        start = f"{sure}: its confidence can be taken at its word"
    elif confidence > accuracy:
        start = f"{sure}: it is over-confident by {_points(confidence - accuracy)}"
    else:
        start = f"{sure}: it is under-confident by {_points(accuracy - confidence)}, safer than it says"
    error = scored.calibration.expected_calibration_error
    if error is None:
        return f"{start}."
    return f"{start}. A stated confidence is off by {_points(error)} on average (expected calibration error)."


def coverage_section(data: RunData) -> Section:
    """Accuracy against the share of the photos that is answered."""
    scored = data.final or data.validation
    points = [] if scored is None else [point for point in scored.coverage if point.accuracy is not None]
    if scored is None or not points:
        return Section(COVERAGE, _TITLES[COVERAGE], empty="Nothing has been scored yet.")
    values = {"chart": _coverage_chart(points), "rows": _table(points)}
    return Section(COVERAGE, _TITLES[COVERAGE], lead=coverage_sentence(scored), values=values)


def coverage_sentence(scored: ScoredData) -> str:
    """What the lowest threshold gives that reaches the next better accuracy."""
    points = [point for point in scored.coverage if point.accuracy is not None and point.coverage > 0]
    for target in _targets(scored.top1):
        reached = [point for point in points if (point.accuracy or 0.0) >= target - 1e-9]
        if reached:
            point = min(reached, key=lambda one: one.threshold)
            return (
                f"If it answers only when at least {percentage(point.threshold, 0)} sure, it answers"
                f" {percentage(point.coverage, 0)} of the photos and is right for {percentage(point.accuracy)} of them;"
                f" answering all of them, for {percentage(scored.top1)}."
            )
    if scored.top1 >= 1:
        return "It was right for all photos; there is nothing to gain by leaving some out."
    return "Leaving out what it is unsure of does not help here: its errors are as sure as its right answers."


def _targets(accuracy: float) -> list[float]:
    """Accuracies to aim at: first the ones with at most half of the errors, the lowest of them first."""
    better = [target for target in TARGETS if target > accuracy]
    halved = [target for target in better if 1 - target <= (1 - accuracy) / 2]
    return [*halved, *reversed(better[: len(better) - len(halved)])]


def _means(bins: Sequence[CalibrationBin]) -> tuple[float, float]:
    """Mean confidence and accuracy of all images."""
    total = sum(one.count for one in bins)
    confidence = sum(one.count * (one.confidence or 0.0) for one in bins) / total
    return confidence, sum(one.count * (one.accuracy or 0.0) for one in bins) / total


def _points(share: float) -> str:
    """A difference of two shares."""
    points = round(100 * share, 1)
    return f"{points:.1f} percentage points" if points < 10 else f"{points:.0f} percentage points"


def _bin_text(one: CalibrationBin) -> str:
    head = f"{percentage(one.low, 0)} to {percentage(one.high, 0)} sure"
    if not one.count:
        return f"{head}\nphotos\tnone"
    means = f"mean confidence\t{percentage(one.confidence)}\nright\t{percentage(one.accuracy)}"
    return f"{head}\nphotos\t{one.count:,}\n{means}"


def _coverage_chart(points: Sequence[CoveragePoint]) -> object:
    """Each coverage once, at its highest threshold; from few answers to all of them."""
    by_coverage = {point.coverage: point for point in points}
    shown = [by_coverage[coverage] for coverage in sorted(by_coverage)]
    texts = [
        f"at least {percentage(point.threshold, 0)} sure\nanswered\t{percentage(point.coverage)}"
        f"\nright\t{percentage(point.accuracy)}"
        for point in shown
    ]
    accuracies = [point.accuracy for point in shown]
    return line_chart(
        [point.coverage for point in shown],
        [Line("right", accuracies)],
        x_axis=SHARES,
        y_axis=share_axis(accuracies, num_ticks=4, high=1.0),
        x_name="photos answered",
        title="Accuracy against coverage",
        description=f"Answering all photos it is right for {percentage(shown[-1].accuracy)}, answering"
        f" {percentage(shown[0].coverage)} of them for {percentage(shown[0].accuracy)}.",
        hits=texts,
    )


def _table(points: Sequence[CoveragePoint]) -> list[CoveragePoint]:
    """Some thresholds for the table."""
    return [point for point in points if any(abs(point.threshold - one) < 1e-6 for one in WRITTEN)]
