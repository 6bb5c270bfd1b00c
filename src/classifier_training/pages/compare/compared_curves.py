"""The curves of several runs in one chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from classifier_training.pages.charts.axes import axis_over, share_axis
from classifier_training.pages.charts.lines import Line, epoch_chart
from classifier_training.pages.compare.compared_runs import ComparedRun
from classifier_training.pages.wording import DASH, count, decimal, percentage

_KINDS = 6  # colours and patterns of lines in the style sheet
_SHARE = partial(percentage, digits=0)
_CHARTS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("val/top1", "Top-1 on validation photos", _SHARE),
    ("val/balanced_accuracy", "Balanced accuracy on validation photos", _SHARE),
    ("val/loss", "Validation loss", decimal),
    ("train/loss", "Training loss", decimal),
    ("lr", "Learning rate", "{:.2g}".format),
    ("images_per_second", "Training images per second", decimal),
)


def compared_curves(runs: Sequence[ComparedRun]) -> list[dict[str, Any]]:
    """A chart for each quantity that at least one run has: its title, image and legend."""
    charts = [_chart(runs, name, title, write) for name, title, write in _CHARTS]
    return [chart for chart in charts if chart is not None]


def _chart(runs: Sequence[ComparedRun], name: str, title: str, write: Callable[[float], str]) -> dict[str, Any] | None:
    values = [_by_epoch(run, name) for run in runs]
    epochs = sorted({epoch for one in values for epoch in one})
    if not epochs:
        return None
    lines = [
        Line(run.label, [one.get(epoch) for epoch in epochs], index % _KINDS + 1)
        for index, (run, one) in enumerate(zip(runs, values, strict=True))
        if one
    ]
    last = [f"{line.name} {decimal([value for value in line.values if value is not None][-1])}" for line in lines]
    shown = [epoch + 1 for epoch in epochs]
    every = [value for line in lines for value in line.values]
    description = f"{title} of {count(len(lines), 'run')} by epoch; last: {'; '.join(last)}."
    y_axis = share_axis(every, num_ticks=4) if write is _SHARE else axis_over(every, write, num_ticks=4, low=0.0)
    texts = [_text(epoch, lines, index, write) for index, epoch in enumerate(shown)]
    return epoch_chart(title, description, shown, lines, y_axis=y_axis, hits=texts)


def _by_epoch(run: ComparedRun, name: str) -> dict[int, float]:
    curves = run.data.timings if name == "images_per_second" and name in run.data.timings.columns else run.data.metrics
    pairs = zip(curves.epochs, curves.columns.get(name, ()), strict=False)
    return {epoch: value for epoch, value in pairs if value is not None}


def _text(epoch: int, lines: Sequence[Line], index: int, write: Callable[[float], str]) -> str:
    """A line for each run."""
    values = [(line.name, line.values[index]) for line in lines]
    rows = [f"{name}\t{DASH if value is None else write(value)}" for name, value in values]
    return "\n".join([f"Epoch {epoch}", *rows])
