"""The linear probe: how its regularisation was chosen, by cross-validation within the training photos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from classifier_training.pages.charts.axes import axis_over, power_axis, share_axis
from classifier_training.pages.charts.lines import Line, line_chart
from classifier_training.pages.charts.svg import Frame
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.run_settings import setting
from classifier_training.pages.section import Section
from classifier_training.pages.wording import count, decimal, percentage
from classifier_training.run.probe import ProbeCurvePoint, ProbeRecord
from classifier_training.terminal.terminal import duration

KEY, TITLE = "probe", "Linear probe"


def probe_section(data: RunData) -> Section | None:
    """The cross-validated loss by the strength of the penalty; only a run that fits a probe has it."""
    probe = data.probe
    if probe is None:
        return None
    is_whole = setting(data.config, "recipe", "name") == "probe"
    values = {"charts": _charts(probe) if probe.curve else [], "hint": _hint(probe)}
    return Section(KEY, TITLE, lead=_lead(probe, is_whole=is_whole), is_of_training=True, values=values)


def _lead(probe: ProbeRecord, *, is_whole: bool) -> str:
    role = "The model is a logistic regression" if is_whole else "The training began with a logistic regression"
    views = "" if probe.num_views == 1 else f" under {count(probe.num_views, 'view')}"
    what = (
        f"{role} on {count(probe.num_features, 'feature')} of {count(probe.num_images, 'training photo')}{views},"
        f" fitted in {duration(probe.seconds)}."
    )
    if probe.val is not None:
        top1, loss = percentage(probe.val.top1), decimal(probe.val.log_loss)
        what += f" It classified {top1} of the validation photos correctly, with a log-loss of {loss}."
    if not probe.curve:
        return f"{what} No photos could be held out to choose its penalty, so C = {decimal(probe.strength)} was taken."
    chosen = next((one for one in probe.curve if one.strength == probe.strength), None)
    found = "" if chosen is None else (
        f", with a log-loss of {decimal(chosen.log_loss)} ± {decimal(chosen.standard_error, 2)} and a top-1 of"
        f" {percentage(chosen.top1)} on photos that were held out"
    )  # fmt: skip
    tried = count(len(probe.curve), "strength")
    return f"{what} Of {tried} of its penalty, C = {decimal(probe.strength)} was chosen{found}."


def _hint(probe: ProbeRecord) -> str:
    """The rule of the choice, in plain words."""
    if not probe.curve:
        return ""
    least = min(probe.curve, key=lambda one: one.log_loss)
    limit = least.log_loss + least.standard_error
    num_hidden = sum(one.log_loss > _highest(probe) for one in probe.curve)
    hidden = f" {count(num_hidden, 'strength')} of a much higher log-loss: not shown on the left." if num_hidden else ""
    num_held_out = probe.num_held_out // max(probe.num_views, 1)
    held_out = "Each photo was" if num_held_out >= probe.num_images else f"{count(num_held_out, 'photo')} were each"
    return (
        f"A small C is a strong penalty, which keeps the weights of the head small. {held_out} held out once, within"
        " the training photos alone, so the validation photos did not take part. The log-loss is least at C ="
        f" {decimal(least.strength)}; of all strengths whose log-loss is at most one standard error above that"
        f" ({decimal(limit)}, the dashed line), the strongest penalty was chosen (rule of one standard error): the"
        " difference is within chance, and a stronger penalty is usually safer on new photos. The bars are one standard"
        f" error over the photos.{hidden}"
    )


def _charts(probe: ProbeRecord) -> list[dict[str, Any]]:
    curve = sorted(probe.curve, key=lambda one: one.strength)
    least = min(curve, key=lambda one: one.log_loss)
    limit = least.log_loss + least.standard_error
    shown = [one.log_loss if one.log_loss <= _highest(probe) else None for one in curve]
    losses = Line("log-loss", shown, intervals=_ends(curve))
    threshold = Line("least, plus one standard error", [limit] * len(curve), kind=2, has_dots=False)
    ends = [end for pair, value in zip(_ends(curve), shown, strict=True) if value is not None for end in pair]
    top1 = Line("top-1", [one.top1 for one in curve])
    return [
        _chart("Cross-validated log-loss", probe, curve, [losses, threshold], axis_over(ends, decimal, num_ticks=4)),
        _chart("Cross-validated top-1", probe, curve, [top1], share_axis(top1.values, num_ticks=4)),
    ]


def _ends(curve: Sequence[ProbeCurvePoint]) -> list[tuple[float, float]]:
    return [(one.log_loss - one.standard_error, one.log_loss + one.standard_error) for one in curve]


def _highest(probe: ProbeRecord) -> float:
    """The highest log-loss that the chart shows, where the bars can still be seen."""
    least = min(probe.curve, key=lambda one: one.log_loss)
    return least.log_loss + 12 * max(least.standard_error, 0.01 * least.log_loss)


def _chart(
    title: str, probe: ProbeRecord, curve: Sequence[ProbeCurvePoint], lines: Sequence[Line], y_axis: Any
) -> dict[str, Any]:
    powers = [math.log10(one.strength) for one in curve]
    hits = [
        f"C = {decimal(one.strength)}{' · chosen' if one.strength == probe.strength else ''}\nlog-loss\t"
        f"{decimal(one.log_loss)} ± {decimal(one.standard_error, 2)}\ntop-1\t{percentage(one.top1)}"
        for one in curve
    ]
    description = (
        f"{title} by the strength C of the penalty on a logarithmic axis, {count(len(curve), 'value')}; C ="
        f" {decimal(probe.strength)} was chosen."
    )
    svg = line_chart(
        Frame(title=title, description=description, x_name="C (logarithmic)", group="probe"),
        powers,
        lines,
        x_axis=power_axis([*powers, math.log10(probe.strength)]),
        y_axis=y_axis,
        hits=hits,
        marks=[(math.log10(probe.strength), f"chosen: C = {decimal(probe.strength)}")],
    )
    return {"title": title, "svg": svg, "legend": [(line.kind, line.name) for line in lines]}
