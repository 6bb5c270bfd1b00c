"""Accuracy where only predictions of at least some confidence count."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from classifier_training.pages.charts.axes import share_axis
from classifier_training.pages.charts.lines import Line, line_chart
from classifier_training.pages.charts.reliability import SHARES
from classifier_training.pages.charts.svg import Frame
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.section import Section
from classifier_training.pages.wording import percentage
from classifier_training.results.scores_file import CoveragePoint

KEY, TITLE = "coverage", "Accuracy and coverage"
TARGETS = (0.9, 0.95, 0.98, 0.99, 1.0)
WRITTEN = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # thresholds in the table


def coverage_section(data: RunData) -> Section:
    """Accuracy against the share of the photos whose prediction is confident enough."""
    scored = data.scored
    points = [] if scored is None else [point for point in scored.coverage if point.accuracy is not None]
    if scored is None or not points:
        return Section(KEY, TITLE, empty="Nothing has been scored yet.")
    rows = [point for point in points if any(abs(point.threshold - one) < 1e-6 for one in WRITTEN)]
    values = {"chart": _coverage_chart(points), "rows": rows}
    return Section(KEY, TITLE, lead=coverage_sentence(scored), values=values)


def coverage_sentence(scored: ScoredData) -> str:
    """The lowest threshold that reaches an accuracy of `TARGETS`: the lowest one with at most half of the errors."""
    points = [point for point in scored.coverage if point.accuracy is not None and point.coverage > 0]
    better = [target for target in TARGETS if target > scored.top1]
    halved = [target for target in better if 1 - target <= (1 - scored.top1) / 2]  # at most half of the errors
    for target in (*halved, *reversed(better[: len(better) - len(halved)])):
        reached = [point for point in points if (point.accuracy or 0.0) >= target - 1e-9]
        if reached:
            point = min(reached, key=lambda one: one.threshold)
            return (
                f"Predictions with a confidence of at least {percentage(point.threshold, 0)} cover"
                f" {percentage(point.coverage, 0)} of the photos, with an accuracy of {percentage(point.accuracy)}; on"
                f" all photos it is {percentage(scored.top1)}."
            )
    if scored.top1 >= 1:
        return "All photos are classified correctly; a confidence threshold has nothing to improve."
    return "A confidence threshold does not help here: wrong predictions are as confident as correct ones."


def _coverage_chart(points: Sequence[CoveragePoint]) -> Markup:
    """Each coverage once, at its highest threshold, from low to full coverage."""
    by_coverage = {point.coverage: point for point in points}
    shown = [by_coverage[coverage] for coverage in sorted(by_coverage)]
    texts = [
        f"confidence at least {percentage(point.threshold, 0)}\ncoverage\t{percentage(point.coverage)}"
        f"\naccuracy\t{percentage(point.accuracy)}"
        for point in shown
    ]
    accuracies = [point.accuracy for point in shown]
    return line_chart(
        Frame(
            title="Accuracy against coverage",
            description=f"On all photos the accuracy is {percentage(shown[-1].accuracy)}, on the most certain"
            f" {percentage(shown[0].coverage)} of them {percentage(shown[0].accuracy)}.",
            x_name="coverage",
        ),
        [point.coverage for point in shown],
        [Line("accuracy", accuracies)],
        x_axis=SHARES,
        y_axis=share_axis(accuracies, num_ticks=4, high=1.0),
        hits=texts,
    )
