"""The part of the calibration section on thresholds: where the model abstains, and which classes may be meant."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from classifier_training.pages.charts.axes import share_axis
from classifier_training.pages.charts.lines import Line, line_chart
from classifier_training.pages.charts.reliability import SHARES
from classifier_training.pages.charts.svg import Frame
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.wording import SPACE, count, decimal, percentage
from classifier_training.results.decision_file import AbstentionFigures, DecisionRecord, SetFigures
from classifier_training.run.records import Interval

_ROWS = (
    ("coverage", "hold the true class"),
    ("interval", "95 % interval"),
    ("mean_size", "mean number of classes"),
    ("single", "of one class"),
    ("empty", "empty"),
)


def decision_values(scored: ScoredData, record: DecisionRecord | None) -> dict[str, Any]:
    """The figure, the sentences and the table of sets; each is empty where nothing is known of it.

    Args:
        scored: The scores that the page shows.
        record: What is known of the thresholds, if these are the final scores of a run.
    """
    effect = scored.decision
    if record is not None and record.num_folds:  # the photos of the final model were trained on
        effect = record.validation
    abstention, sets = (None, None) if effect is None else (effect.abstention, effect.sets)
    rows = [one for one in (sets, None if record is None else record.raps) if one is not None]
    of_folds = "Of a photo that was not trained on, only the folds tell: these figures are of their photos."
    return {
        "risk": _risk_chart(scored, abstention),
        "sentences": [
            *([of_folds] if record is not None and record.num_folds else []),
            *([] if abstention is None else [abstention_sentence(abstention, record)]),
            *([] if sets is None else [sets_sentence(record)]),
            *(() if record is None else (f"{one[:1].upper()}{one[1:]}." for one in record.reasons)),
        ],
        "sets": [_row(one) for one in rows],
        "rows": _ROWS,
    }


def abstention_sentence(figures: AbstentionFigures, record: DecisionRecord | None) -> str:
    """From which confidence on the model answers, what was asked for, and what holds."""
    asked = ""
    if record is not None and record.target_precision is not None:
        asked = f", for a precision of {percentage(record.target_precision)} on the validation photos"
    elif record is not None and record.target_coverage is not None:
        asked = f", to answer {percentage(record.target_coverage)} of the validation photos"
    start = f"The model answers from a confidence of {decimal(figures.threshold)} on{asked}, and abstains below"
    answers = (
        f"it answers {percentage(figures.coverage)} of {count(figures.num_images, 'photo')}"
        f"{_ends(figures.coverage_interval)}"
    )
    if figures.precision is None:
        return f"{start}. Here {answers}."
    missed = ""
    if record is not None and record.target_precision is not None and figures.precision < record.target_precision:
        missed = " That is below what was asked for: on the validation photos it holds, here it does not."
    correct = f"{percentage(figures.precision)} of the answers are correct{_ends(figures.precision_interval)}"
    return f"{start}. Here {answers}, and {correct}.{missed}"


def sets_sentence(record: DecisionRecord | None) -> str:
    """What prediction sets are, and what is promised of them."""
    start = "A prediction set holds all classes that may be meant"
    if record is None or record.set_coverage is None or record.set_interval is None:
        return f"{start}."
    return (
        f"{start}: the true one is to be among them in {percentage(record.set_coverage)} of the cases, which"
        f" {count(record.num_images, 'validation photo')} allow within"
        f" {percentage(record.set_interval[0])} to {percentage(record.set_interval[1])}."
    )


def _ends(interval: Interval | None) -> str:
    return "" if interval is None else f" (95 % interval {percentage(interval[0])} to {percentage(interval[1])})"


def _row(figures: SetFigures) -> dict[str, str]:
    low, high = figures.coverage_interval
    return {
        "method": figures.method.upper(),
        "coverage": percentage(figures.coverage),
        "interval": f"{100 * low:.0f} to {100 * high:.0f}{SPACE}%",
        "mean_size": decimal(figures.mean_size),
        "single": percentage(figures.single),
        "empty": percentage(figures.empty),
    }


def _risk_chart(scored: ScoredData, abstention: AbstentionFigures | None) -> Markup | None:
    """The share of wrong answers against the share of the photos that are answered."""
    by_coverage = {one.coverage: one for one in scored.coverage if one.accuracy is not None}
    shown = [by_coverage[coverage] for coverage in sorted(by_coverage)]
    if not shown:
        return None
    risks = [1 - (one.accuracy or 0.0) for one in shown]
    texts = [
        f"confidence at least {percentage(one.threshold, 0)}\nanswered\t{percentage(one.coverage)}"
        f"\nwrong answers\t{percentage(risk)}"
        for one, risk in zip(shown, risks, strict=True)
    ]
    marks = [] if abstention is None else [(abstention.coverage, f"from {decimal(abstention.threshold)} on")]
    return line_chart(
        Frame(
            title="Wrong answers by coverage",
            description=f"Of all photos {percentage(risks[-1])} are predicted wrongly, of the most certain"
            f" {percentage(shown[0].coverage)} of them {percentage(risks[0])}.",
            x_name="coverage",
            size="low",
        ),
        [one.coverage for one in shown],
        [Line("wrong answers", risks)],
        x_axis=SHARES,
        y_axis=share_axis(risks, num_ticks=3),
        hits=texts,
        marks=marks,
    )
