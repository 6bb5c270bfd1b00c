"""What the photos are like, and what the sampler drew of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from markupsafe import Markup

from classifier_training.pages.charts.axes import Axis, axis_over
from classifier_training.pages.charts.bars import pair_bar
from classifier_training.pages.charts.columns import Column, column_chart, level
from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.inline_images import figure_url
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.sampler_distribution import SamplerDistribution
from classifier_training.pages.sections.section import Section
from classifier_training.pages.wording import count, decimal, percentage
from classifier_training.run.statistics import Quantity, Statistics

KEY, TITLE = "photos", "Data and sampler"
MANY_CLASSES = 40  # from which on a skyline is drawn above the table
SPLITS = {"train": "training", "val": "validation", "test": "test"}
_TITLES: dict[Quantity, str] = {
    "width": "Width, pixels",
    "height": "Height, pixels",
    "aspect_ratio": "Width over height",
}


def photos_section(data: RunData) -> Section:
    """Images by class and split, what was drawn of them, their sizes, and the bad files."""
    statistics, sampler = data.statistics, data.sampler
    if statistics is None and sampler is None:
        return Section(KEY, TITLE, empty="Neither data/statistics.json nor data/sampler_distribution.csv is there.")
    rows = _rows(statistics, sampler)
    values: dict[str, Any] = {
        "rows": rows,
        "splits": [name for name in SPLITS if statistics is not None and name in statistics.counts],
        "split_names": SPLITS,
        "has_draws": sampler is not None and len(sampler.epochs) > 0,
        "total_drawn": _total_drawn(rows),
        "num_epochs": 0 if sampler is None else len(sampler.epochs),
        "skyline": _skyline(rows) if len(rows) > MANY_CLASSES else None,
        "is_long": len(rows) > MANY_CLASSES,
        "train_batch": figure_url(data.train_batch),
        "histograms": [] if statistics is None else _histograms(statistics),
        "modes": {} if statistics is None else statistics.modes,
        "bad": () if statistics is None else [(one_line(one.file), one.reason) for one in statistics.bad],
        "totals": {} if statistics is None else {name: sum(counts) for name, counts in statistics.counts.items()},
    }  # fmt: skip
    return Section(KEY, TITLE, lead=_lead(statistics, sampler), values=values)


def _rows(statistics: Statistics | None, sampler: SamplerDistribution | None) -> list[dict[str, Any]]:
    """A row a class: images by split, mean number of draws in an epoch, and both as shares of the largest."""
    classes = statistics.classes if statistics is not None else () if sampler is None else sampler.classes
    counts = statistics.counts if statistics is not None else {}
    drawn = _mean_draws(sampler, classes)
    held = counts.get("train") or tuple(0 for _ in classes)
    if statistics is None and sampler is not None:
        held = tuple(sampler.images.tolist())
    most = max([*held, *(one for one in drawn if one is not None), 1])
    return [
        {
            "name": one_line(name),
            "counts": {split: of_class[place] for split, of_class in counts.items()},
            "held": held[place],
            "drawn": drawn[place],
            "repeats": None if not held[place] or drawn[place] is None else (drawn[place] or 0.0) / held[place],
            "bar": pair_bar(held[place] / most, (drawn[place] or 0.0) / most),
        }
        for place, name in enumerate(classes)
    ]


def _mean_draws(sampler: SamplerDistribution | None, classes: tuple[str, ...]) -> list[float | None]:
    if sampler is None or not len(sampler.epochs):
        return [None] * len(classes)
    means = dict(zip(sampler.classes, np.mean(sampler.drawn, axis=0).tolist(), strict=True))
    return [means.get(name) for name in classes]


def _total_drawn(rows: list[dict[str, Any]]) -> float | None:
    known = [row["drawn"] for row in rows if row["drawn"] is not None]
    return sum(known) if known else None


def _skyline(rows: list[dict[str, Any]]) -> Markup:
    """Training images of all classes, from the largest to the smallest, and what was drawn of them."""
    ordered = sorted(rows, key=lambda row: -row["held"])
    heights = [row["held"] for row in ordered]
    drawn = [row["drawn"] for row in ordered]
    axis = axis_over([*heights, *drawn], "{:,.0f}".format, low=0, num_ticks=3, whole=True)
    columns = [
        Column(place, place + 1, row["held"], f"{row['name'][:60]}\ntraining photos\t{row['held']:,}{_drawn_line(row)}")
        for place, row in enumerate(ordered)
    ]
    return column_chart(
        columns,
        x_axis=None,
        y_axis=axis,
        x_name="classes, largest first",
        title="Training photos by class",
        description=f"{len(rows)} classes, from {heights[0]:,} to {heights[-1]:,} training photos.",
        kind=3,
        over=None if None in drawn else level(drawn, axis, "", 1),
    )


def _drawn_line(row: dict[str, Any]) -> str:
    return "" if row["drawn"] is None else f"\ndrawn in an epoch\t{row['drawn']:,.0f}"


def _histograms(statistics: Statistics) -> list[dict[str, Any]]:
    made = []
    for key, name in _TITLES.items():
        histogram = statistics.histograms.get(key)
        if histogram is None or not any(histogram.counts):
            continue
        write = "{:,.0f}".format if key != "aspect_ratio" else "{:.2g}".format
        edges = histogram.edges
        columns = [  # of equal width: the edges grow by a factor where the values do
            Column(place, place + 1, number, f"{write(low)} to {write(high)}\nphotos\t{number:,}")
            for place, (low, high, number) in enumerate(zip(edges, edges[1:], histogram.counts, strict=False))
        ]
        svg = column_chart(
            columns,
            x_axis=_edge_axis(edges, write),
            y_axis=axis_over(histogram.counts, "{:,.0f}".format, low=0, num_ticks=2, whole=True),
            x_name="",
            title=name,
            description=f"{name}: from {write(edges[0])} to {write(edges[-1])}.",
            kind=3,
            size="low bare",
        )
        made.append({"title": name, "svg": svg, "spread": statistics.spreads.get(key)})
    return made


def _edge_axis(edges: tuple[float, ...], write: Callable[[float], str]) -> Axis:
    """The axis of bins of equal width, with some of their edges written under it."""
    last = len(edges) - 1
    ticks = tuple(sorted({0, last // 3, 2 * last // 3, last}))
    return Axis(0, last, ticks, lambda place: write(edges[round(place)]))


def _lead(statistics: Statistics | None, sampler: SamplerDistribution | None) -> str:
    sentences = []
    if statistics is not None:
        parts = [f"{sum(counts):,} for {SPLITS[name]}" for name, counts in statistics.counts.items() if name in SPLITS]
        sentences.append(
            f"{count(statistics.num_images, 'photo')} of {count(len(statistics.classes), 'class', 'classes')}:"
            f" {', '.join(parts)}."
        )
        if statistics.imbalance_ratio is not None:
            sentences.append(_balance(statistics.imbalance_ratio))
    if sampler is not None and len(sampler.epochs):
        sentences.append(_draws(sampler))
    return " ".join(sentences)


def _balance(ratio: float) -> str:
    if ratio < 1.5:
        return "The classes are about equally large."
    return f"The largest class has {decimal(ratio, 2)} times as many training photos as the smallest."


def _draws(sampler: SamplerDistribution) -> str:
    """Whether the sampler changed what the data holds."""
    held = sampler.images / max(int(sampler.images.sum()), 1)
    drawn = sampler.drawn.sum(axis=0) / max(int(sampler.drawn.sum()), 1)
    if float(np.abs(held - drawn).max()) < 0.005:
        return "The sampler drew the classes as the data holds them."
    known = sampler.images > 0
    repeats = (sampler.drawn.mean(axis=0)[known] / sampler.images[known]).tolist()
    least, most = min(repeats), max(repeats)
    largest = percentage(float(drawn.max()), 0)
    return (
        f"The sampler drew each photo between {least:.2g} and {most:.2g} times an epoch, by its class; no class was"
        f" more than {largest} of what was drawn."
    )
