"""The training curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from classifier_training.metrics.score_names import SCORE_TITLES
from classifier_training.pages.charts.axes import axis_over, share_axis
from classifier_training.pages.charts.lines import Line, epoch_chart
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.section import Section, num_all_epochs
from classifier_training.pages.wording import count, decimal, percentage

KEY, TITLE = "curves", "Training curves"
NAMES = {
    "train/loss": "training loss",
    "val/loss": "validation loss",
    **{f"val/{name}": title for name, title in SCORE_TITLES.items()},
    "lr": "learning rate",
    "images_per_second": "images per second",
    "seconds": "seconds",
    "forecast": "forecast of the best top-1",
    "forecast_low": "at least",
    "forecast_high": "at most",
}
_LOSS_HINT = (
    "The validation loss can be lower than the training loss: training photos are augmented and perhaps mixed, with"
    " label smoothing if that is on. Validation photos are plain, and the averaged weights (EMA) are validated if"
    " averaging is on."
)
_FORECAST = ("forecast", "forecast_low", "forecast_high")
_SHARES = {f"val/{name}" for name in SCORE_TITLES} | {*_FORECAST}

Values = Sequence[float | None]


def curves_section(data: RunData) -> Section:
    """Loss, scores, learning rate and speed by epoch."""
    if not data.metrics.epochs:
        return Section(KEY, TITLE, is_of_training=True, empty="No epoch is finished yet.")
    columns = _columns(data)
    texts = _epoch_texts(data, columns)
    charts = [
        _chart(data, columns, ("train/loss", "val/loss"), "Loss", texts),
        _chart(data, columns, ("val/top1", "val/balanced_accuracy"), "Accuracy on validation photos", texts),
        _chart(data, columns, ("lr",), "Learning rate", texts),
        _chart(data, columns, ("images_per_second",), "Training images per second", texts),
    ]
    has_both_losses = all(name in columns for name in ("train/loss", "val/loss"))
    values = {
        "hint": _LOSS_HINT if has_both_losses else "",
        "charts": [chart for chart in charts if chart is not None],
        "names": [NAMES.get(name, name) for name in columns],
        "rows": [
            (epoch + 1, epoch == data.best_epoch, [write_metric(name, known[index]) for name, known in columns.items()])
            for index, epoch in enumerate(data.metrics.epochs)
        ],
    }
    return Section(KEY, TITLE, is_of_training=True, lead=_lead(data), values=values)


def write_metric(name: str, value: float | None) -> str:
    """A metric as text: shares in percent."""
    return percentage(value) if name in _SHARES else decimal(value)


def _columns(data: RunData) -> dict[str, Values]:
    """All known values of each epoch, in the order in which they are shown."""
    metrics = data.metrics.columns
    columns: dict[str, Values] = {name: metrics[name] for name in NAMES if name in metrics}
    columns |= {name: values for name, values in metrics.items() if name not in NAMES and name not in {"epoch", "step"}}
    for name in ("images_per_second", "seconds", *_FORECAST):
        by_epoch = dict(zip(data.timings.epochs, data.timings.columns.get(name, ()), strict=False))
        if by_epoch:
            columns[name] = tuple(by_epoch.get(epoch) for epoch in data.metrics.epochs)
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


def _epoch_texts(data: RunData, columns: dict[str, Values]) -> list[str]:
    texts = []
    for index, epoch in enumerate(data.metrics.epochs):
        best = " · best" if epoch == data.best_epoch else ""
        lines = [f"{NAMES.get(name, name)}\t{write_metric(name, values[index])}" for name, values in columns.items()]
        texts.append("\n".join([f"Epoch {epoch + 1}{best}", *lines]))
    return texts


def _chart(
    data: RunData, columns: dict[str, Values], names: tuple[str, ...], title: str, texts: list[str]
) -> dict[str, Any] | None:
    shown = [name for name in names if name in columns]
    if not shown:
        return None
    epochs = [epoch + 1 for epoch in data.metrics.epochs]
    lines = [Line(NAMES.get(name, name), columns[name], kind=names.index(name) + 1) for name in shown]
    every = [value for name in shown for value in columns[name]]
    if shown[0] in _SHARES:
        y_axis = share_axis(every, num_ticks=4)
    else:
        y_axis = axis_over(every, decimal, num_ticks=4, low=0.0 if any(every) else None)
    last = [f"{line.name} {write_metric(name, line.values[-1])}" for line, name in zip(lines, shown, strict=True)]
    description = f"{title} by epoch, {count(len(epochs), 'epoch')}; last: {', '.join(last)}."
    best = data.best_epoch
    mark = None if best is None or best not in data.metrics.epochs else (best + 1, "best epoch")
    return epoch_chart(title, description, epochs, lines, y_axis=y_axis, hits=texts, mark=mark)


def _lead(data: RunData) -> str:
    """Which epoch was the best, and whether the training was too short or too long."""
    epochs = data.metrics.epochs
    if data.best_epoch is None:
        return f"{count(len(epochs), 'epoch')} done; no validation yet."
    score = write_metric(data.monitor, data.best_score)
    name = NAMES.get(data.monitor, data.monitor)
    is_best = "was the best" if data.status == "finished" else "is the best so far"
    total = max(epochs[-1] + 1, num_all_epochs(data))
    best = f"Epoch {data.best_epoch + 1} of {total} {is_best}, with a {name} of {score} on the validation photos."
    return " ".join(part for part in (best, _before(data), _shape(data)) if part)


def _before(data: RunData) -> str:
    """What the probe had before the first epoch."""
    scores = None if data.probe is None else data.probe.val
    if scores is None:
        return ""
    top1, loss = percentage(scores.top1), decimal(scores.log_loss, 4)
    return f"The probe that the training began with had a top-1 of {top1} and a loss of {loss}."


def _shape(data: RunData) -> str:
    epochs, losses = data.metrics.epochs, data.metrics.columns.get("val/loss", ())
    known = data.metrics.known("val/loss")
    if data.status == "finished" and len(epochs) > 2 and data.best_epoch == epochs[-1]:
        return "It was also the last one, so training longer may still help."
    if len(known) > 3 and known[-1] > 1.1 * min(known):
        since = data.metrics.epochs[list(losses).index(min(known))] + 1
        return (
            f"The validation loss has risen by {percentage(known[-1] / min(known) - 1, 0)} since epoch {since}:"
            " since then the model overfits the training photos."
        )
    return ""
