"""The range test of ``optimizer.lr=find``: the loss by the learning rate, and which one was chosen."""

from __future__ import annotations

import math
from typing import Any

from classifier_training.pages.charts.axes import axis_over, power_axis
from classifier_training.pages.charts.lines import Line, line_chart
from classifier_training.pages.charts.svg import Frame
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.run_settings import setting
from classifier_training.pages.section import Section
from classifier_training.pages.wording import count, decimal
from classifier_training.run.lr_range import DIVERGED, NUM_STEPS, RangeTest

KEY, TITLE = "lr_range", "Learning rate range test"


def lr_range_section(data: RunData) -> Section | None:
    """The curve of the test; only a run with ``optimizer.lr=find`` has one."""
    test = data.lr_range
    if test is None:
        return None
    used = setting(data.config, "optimizer", "lr")
    chosen = float(used) if isinstance(used, int | float) and used > 0 else test.suggestion
    values = {"chart": _chart(test, chosen) if test.rates else None}
    return Section(KEY, TITLE, lead=_lead(test, chosen), is_of_training=True, values=values)


def _lead(test: RangeTest, chosen: float | None) -> str:
    tried = f"Before the training, the learning rate rose in {count(len(test.rates), 'step')}"
    if test.suggestion is None or test.lowest is None:
        taken = "" if chosen is None else f", so the default, {decimal(chosen)}, was taken"
        return f"{tried}; {test.end}. The loss did not fall at any of them{taken}."
    is_last = test.lowest == test.rates[-1]
    rises = "" if is_last else f" Above {decimal(test.lowest, 2)} the loss rises; {test.end}."
    return (
        f"{tried}. The smoothed loss is lowest at {decimal(test.lowest, 2)}, and a tenth of that,"
        f" {decimal(chosen if chosen is not None else test.suggestion)}, was taken.{rises}"
    )


def _chart(test: RangeTest, chosen: float | None) -> dict[str, Any]:
    powers = [math.log10(rate) for rate in test.rates]
    end = 1.2 * DIVERGED * min(test.smoothed)
    lines = [
        Line("loss of the batch", [loss if loss <= end else None for loss in test.losses], kind=3),
        Line("smoothed", test.smoothed, kind=1),
    ]
    marks = []
    x_axis = power_axis([*powers, *([] if chosen is None else [math.log10(chosen)])])
    if chosen is not None:
        marks.append((math.log10(chosen), f"chosen: {decimal(chosen)}"))
    if test.suggestion is not None and test.lowest is not None and test.lowest != test.rates[-1]:
        marks.append((math.log10(test.lowest), f"lowest loss: {decimal(test.lowest, 2)}"))
    hits = [
        f"learning rate {decimal(rate, 2)}\nloss of the batch\t{decimal(loss)}\nsmoothed\t{decimal(mean)}"
        for rate, loss, mean in zip(test.rates, test.losses, test.smoothed, strict=True)
    ]
    steps = f"{count(len(test.rates), 'step')} of at most {NUM_STEPS}"
    description = f"Loss by learning rate on a logarithmic axis, {steps}; {test.end}."
    svg = line_chart(
        Frame(title="Loss by learning rate", description=description, x_name="learning rate (logarithmic)"),
        powers,
        lines,
        x_axis=x_axis,
        y_axis=axis_over([value for line in lines for value in line.values], decimal, num_ticks=4),
        hits=hits,
        marks=marks,
    )
    return {"title": "Loss by learning rate", "svg": svg, "legend": [(line.kind, line.name) for line in lines]}
