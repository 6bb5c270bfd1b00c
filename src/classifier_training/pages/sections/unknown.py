"""The unknown score: which one was chosen, how well it tells classes apart that were left out, and what it flags."""

from __future__ import annotations

from typing import Any

from classifier_training.pages.charts.axes import axis_over
from classifier_training.pages.charts.columns import Column, column_chart, level
from classifier_training.pages.charts.svg import Frame
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.section import Section, shown_scores_name
from classifier_training.pages.wording import count, decimal, percentage
from classifier_training.results.unknown_effect import title_of
from classifier_training.results.unknown_file import UnknownEffect, UnknownRecord

KEY, TITLE = "unknown", "Unknown images"


def unknown_section(data: RunData) -> Section | None:
    """The choice, the histogram of known and left out photos, and the classes; a run without such a score has none."""
    record = data.unknown
    if record is None:
        return None
    if not record.kind:
        return Section(KEY, TITLE, empty=f"There is no unknown score: {record.reason}.")
    values = {
        "histogram": _histogram(record) if record.bins else None,
        "kinds": [
            {"title": title_of(one.kind), "auroc": one.auroc, "low": one.low, "high": one.high,
             "is_chosen": one.kind == record.kind}
            for one in sorted(record.kinds, key=lambda one: -one.auroc)
        ],
        "classes": sorted(record.left_out, key=lambda one: one.auroc),
    }  # fmt: skip
    return Section(KEY, TITLE, lead=_lead(record), values=values)


def _lead(record: UnknownRecord) -> str:
    chosen = record.chosen
    if chosen is None:
        start = (
            f"The score is the {title_of(record.kind)}, which was not chosen by leaving out classes: {record.reason}."
        )
    else:
        start = (
            f"The score is the {title_of(record.kind)}: in {percentage(chosen.auroc, 0)} of the cases a photo of a"
            f" class that was left out scores higher than another one (AUROC {decimal(chosen.auroc)}, between"
            f" {decimal(chosen.low)} and {decimal(chosen.high)} over"
            f" {count(len(record.left_out), 'class', 'classes')})."
        )
    known = f" {percentage(record.known_share, 0)} of the validation photos are to count as known."
    return start + known + ("" if record.measured is None else _measured(record.measured, record.split))


def _measured(effect: UnknownEffect, split: str) -> str:
    low, high = effect.interval
    return (
        f" Of the {shown_scores_name(split)}, {effect.num_unknown:,} of {effect.num_images:,} count as unknown:"
        f" {percentage(effect.share)} (95 % interval {percentage(low)} to {percentage(high)})."
    )


def _histogram(record: UnknownRecord) -> Any:
    num_known, num_out = (max(1, sum(getattr(one, name) for one in record.bins)) for name in ("known", "left_out"))
    known = [one.known / num_known for one in record.bins]
    left_out = [one.left_out / num_out for one in record.bins]
    y_axis = axis_over([*known, *left_out], lambda share: percentage(share, 0), low=0, num_ticks=3)
    texts = [
        f"score {decimal(one.low)} to {decimal(one.high)}\n"
        f"other classes\t{percentage(share)}\nleft out\t{percentage(out)}"
        for one, share, out in zip(record.bins, known, left_out, strict=True)
    ]
    first, last = record.bins[0].low, record.bins[-1].high
    return column_chart(
        Frame(
            title="Photos by unknown score",
            description="Share of the photos of classes that were left out, and of the others, by their unknown score.",
            x_name="unknown score",
        ),
        [Column(one.low, one.high, share, text) for one, share, text in zip(record.bins, known, texts, strict=True)],
        x_axis=axis_over([first, last], decimal, low=first, high=last),
        y_axis=y_axis,
        kind=3,
        over=level(left_out, y_axis, kind=2),
    )
