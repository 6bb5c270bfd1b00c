"""Whether the confidence of the model matches its accuracy, and what is decided from it."""

from __future__ import annotations

from classifier_training.pages.charts.axes import axis_over
from classifier_training.pages.charts.columns import Column, column_chart
from classifier_training.pages.charts.reliability import SHARES, reliability_diagram
from classifier_training.pages.charts.svg import Frame
from classifier_training.pages.decision import decision_values
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.section import Section
from classifier_training.pages.wording import count, percentage
from classifier_training.results.results_file import TemperatureRecord
from classifier_training.results.scores_file import CalibrationBin, CalibrationFigures

KEY, TITLE = "calibration", "Calibration"
SLIGHT = 0.02  # difference of confidence and accuracy that is negligible


def calibration_section(data: RunData) -> Section:
    """The reliability diagram and the number of images in each bin."""
    scored = data.scored
    if scored is None or not any(one.count for one in scored.calibration.bins):
        return Section(KEY, TITLE, empty="Nothing has been scored yet.")
    bins = scored.calibration.bins
    texts = [_bin_text(one) for one in bins]
    record = data.temperature if scored is data.final else None
    sentence = calibration_sentence(scored) + temperature_sentence(scored, record)
    if record is not None and record.reason:
        sentence += f" No temperature was fitted: {record.reason}."
    before = () if scored.temperature is None else scored.temperature.bins_before
    counts = column_chart(
        Frame(
            title="Photos by confidence",
            description=f"Number of {count(scored.num_images, 'photo')} by the confidence of their prediction.",
            x_name="confidence",
            size="low",
            group="calibration",
        ),
        [Column(one.low, one.high, one.count, text) for one, text in zip(bins, texts, strict=True)],
        x_axis=SHARES,
        y_axis=axis_over([one.count for one in bins], "{:,.0f}".format, low=0, num_ticks=2, whole=True),
        kind=3,
    )
    values = {
        "diagram": reliability_diagram(bins, texts, sentence, before),
        "counts": counts,
        "error": scored.calibration.expected_calibration_error,
        "num_bins": len(bins),
        "has_before": bool(before),
        "bins": [one for one in bins if one.count],
        "decision": decision_values(scored, data.decision if scored is data.final else None),
    }
    return Section(KEY, TITLE, lead=sentence, values=values)


def calibration_sentence(scored: ScoredData) -> str:
    """Whether the model is over- or under-confident, and by how much."""
    bins = scored.calibration.bins
    confidence = sum(one.count * (one.confidence or 0.0) for one in bins) / sum(one.count for one in bins)
    accuracy = sum(one.count * (one.accuracy or 0.0) for one in bins) / sum(one.count for one in bins)
    means = f"The mean confidence is {percentage(confidence, 0)} and the accuracy {percentage(accuracy, 0)}"
    if abs(confidence - accuracy) < SLIGHT:
        start = f"{means}: on average, the confidence is accurate"
    elif confidence > accuracy:
        start = f"{means}: the model is over-confident by {_points(confidence - accuracy)}"
    else:
        start = f"{means}: the model is under-confident by {_points(accuracy - confidence)}"
    error = scored.calibration.expected_calibration_error
    if error is None:
        return f"{start}."
    return f"{start}. The expected calibration error is {_points(error)}."


def temperature_sentence(scored: ScoredData, record: TemperatureRecord | None = None) -> str:
    """What the temperature changes, to be appended; empty where there is none, or its effect is not known."""
    effect = scored.temperature
    if effect is None or effect.before is None:
        return ""
    if record is not None and record.num_folds:
        return (
            f" Confidences have the temperature {effect.temperature:.3g}, the mean of those of {record.num_folds}"
            " folds. These photos were trained on, so their calibration tells nothing of others."
        )
    before, after = effect.before, effect.after
    same = " It was fitted on these photos, so on others the error may be larger." if scored.split == "val" else ""
    return (
        f" Confidences have the temperature {effect.temperature:.3g}, fitted on validation photos:"
        f" the error is {_with_interval(after)}, and {_with_interval(before)} without it"
        f"{_losses(before, after)}. No prediction changes by it.{same}"
    )


def _with_interval(figures: CalibrationFigures) -> str:
    low, high = figures.interval
    return f"{_points(figures.error)} (95 % interval {100 * low:.1f} to {100 * high:.1f})"


def _losses(before: CalibrationFigures, after: CalibrationFigures) -> str:
    if before.log_loss is None or after.log_loss is None:
        return ""
    return f"; the log-loss is {after.log_loss:.3f}, and {before.log_loss:.3f} without it"


def _points(share: float) -> str:
    """A difference of two shares."""
    points = round(100 * share, 1)
    return f"{points:.1f} percentage points" if points < 10 else f"{points:.0f} percentage points"


def _bin_text(one: CalibrationBin) -> str:
    head = f"confidence {percentage(one.low, 0)} to {percentage(one.high, 0)}"
    if not one.count:
        return f"{head}\nphotos\tnone"
    means = f"mean confidence\t{percentage(one.confidence)}\naccuracy\t{percentage(one.accuracy)}"
    return f"{head}\nphotos\t{one.count:,}\n{means}"
