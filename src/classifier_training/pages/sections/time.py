"""What the time of a run was spent on, and what its forecasts said against what came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from classifier_training.config.section import seconds_of
from classifier_training.metrics.forecast import COVERAGE
from classifier_training.pages.charts.axes import share_axis
from classifier_training.pages.charts.bars import share_bar
from classifier_training.pages.charts.lines import Line, epoch_chart
from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.run_settings import setting
from classifier_training.pages.section import Section
from classifier_training.pages.wording import count, percentage
from classifier_training.terminal.terminal import duration as whole_duration

KEY, TITLE = "time", "Time"
_NAMES = {
    "start": "start: photos, plan and model",
    "lr_range": "range test of the learning rate",
    "probe": "linear probe",
    "teacher": "scoring the teacher",
    "steps": "training on batches",
    "between": "validation, checkpoints and pages between the epochs",
    "choice": "choosing the final weights",
    "scoring": "final scores",
    "figures": "tables and figures",
    "export": "export and its verification",
}


class _Forecast(NamedTuple):
    """A forecast after so many epochs."""

    epochs: int
    value: float
    low: float
    high: float


def time_section(data: RunData) -> Section | None:
    """Only a run that has recorded its time, or that has forecasts, has this section."""
    parts, forecasts = _parts(data), _forecasts(data)
    if not parts and not forecasts:
        return None
    total = sum(seconds for _, seconds in parts)
    rows = [
        (name, _duration(seconds), percentage(seconds / total, 0), share_bar(seconds / total))
        for name, seconds in parts
    ]
    values = {"rows": rows, "total": _duration(total), "chart": _chart(data, forecasts) if forecasts else None}
    lead = " ".join(sentence for sentence in (_budget(data, total), _outcome(data, forecasts)) if sentence)
    return Section(KEY, TITLE, lead=lead, is_of_training=True, values=values)


def _parts(data: RunData) -> list[tuple[str, float]]:
    """The parts that took time, in the order of a run; training is that of batches, and what comes between."""
    spent = {} if data.time is None else dict(data.time.seconds)
    steps, training = sum(data.timings.known("seconds")), spent.pop("training", 0.0)
    if not spent and not training:
        return []
    spent |= {"steps": steps, "between": max(0.0, training - steps)}
    names = [*_NAMES, *(name for name in spent if name not in _NAMES)]
    return [(_NAMES.get(name, one_line(name)), spent[name]) for name in names if spent.get(name, 0.0) >= 0.05]


def _forecasts(data: RunData) -> list[_Forecast]:
    found = []
    first = None if data.time is None else data.time.forecast
    if first is not None:
        found.append(_Forecast(0, first.value, first.low, first.high))
    columns = [data.timings.columns.get(name) for name in ("forecast", "forecast_low", "forecast_high")]
    if all(column is not None for column in columns):
        rows = zip(data.timings.epochs, *(column or () for column in columns), strict=False)
        found += [_Forecast(row[0] + 1, *row[1:]) for row in rows if None not in row]
    return found


def _budget(data: RunData, total: float) -> str:
    text = setting(data.config, "trainer", "time_limit")
    try:
        limit = (seconds_of(text) or None) if isinstance(text, str | int | float) else None
    except ValueError:  # of a damaged file
        limit = None
    if not total:
        return ""
    if limit is None:
        return f"{_duration(total)} in all, from the start of the command."
    what = "So far" if data.status == "training" else "The run took"
    over = f", {_duration(total - limit)} more than that" if total > limit + 1 else ""
    return (
        f"{what} {_duration(total)} of the {_duration(limit)} of its time limit{over}, from the start of the command."
    )


def _outcome(data: RunData, forecasts: Sequence[_Forecast]) -> str:
    """The first forecast against what came."""
    reached = _best(data)
    if not forecasts or not reached:
        return ""
    first = forecasts[0]
    when = "Before the first epoch" if first.epochs == 0 else f"After {count(first.epochs, 'epoch')}"
    said = (
        f"{when}, a best validation top-1 of {percentage(first.value)} ({percentage(first.low)} to"
        f" {percentage(first.high)}) was forecast"
    )
    if data.status == "training":
        return f"{said}; the best so far is {percentage(reached[-1])}."
    step = 5e-5  # as the table has four digits
    is_inside = first.low - step <= reached[-1] <= first.high + step
    return f"{said}; {percentage(reached[-1])} came, {'within' if is_inside else 'outside'} that interval."


def _best(data: RunData) -> list[float]:
    """The best validation top-1 up to each epoch that is validated."""
    best: list[float] = []
    for value in data.metrics.known("val/top1"):
        best.append(max([value, *best[-1:]]))
    return best


def _chart(data: RunData, forecasts: Sequence[_Forecast]) -> dict[str, Any]:
    by_epoch = {one.epochs: one for one in forecasts}
    measured = dict(zip(data.metrics.epochs, data.metrics.columns.get("val/top1", ()), strict=False))
    scored = {epoch + 1: value for epoch, value in measured.items() if value is not None}
    probe = None if data.probe is None or data.probe.val is None else data.probe.val.top1
    if probe is not None and 0 in by_epoch:
        scored[0] = probe
    epochs = sorted({*by_epoch, *scored})
    best = [max((value for epoch, value in scored.items() if 0 < epoch <= at), default=scored.get(at)) for at in epochs]
    shown = [by_epoch.get(epoch) for epoch in epochs]
    lines = [
        Line(
            "forecast and its interval",
            [None if one is None else one.value for one in shown],
            intervals=[None if one is None else (one.low, one.high) for one in shown],
        ),
        Line("best validation top-1 so far", best, kind=2),
    ]
    ends = [end for one in forecasts for end in (one.low, one.high)]
    hits = [_hit(epoch, one, reached) for epoch, one, reached in zip(epochs, shown, best, strict=True)]
    title = "Forecast of the best validation top-1"
    description = f"{title} after each epoch, {count(len(forecasts), 'forecast')}, against the best so far."
    made = epoch_chart(
        title, description, epochs, lines, y_axis=share_axis([*ends, *best], num_ticks=4), hits=hits, group="forecast"
    )
    return made | {
        "hint": (
            f"The vertical lines are intervals that are meant to hold in {percentage(COVERAGE, 0)} of trainings."
            " Epoch 0 is the forecast before the training, by its probe."
        )
    }


def _hit(epoch: int, one: _Forecast | None, best: float | None) -> str:
    lines = [f"After epoch {epoch}" if epoch else "Before the training"]
    if one is not None:
        lines.append(f"forecast\t{percentage(one.value)} ({percentage(one.low)} to {percentage(one.high)})")
    lines.append(f"{'best so far' if epoch else 'probe'}\t{percentage(best)}")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    """A duration, a short one with its tenths."""
    return f"{seconds:.1f} s" if seconds < 10 else whole_duration(seconds)
