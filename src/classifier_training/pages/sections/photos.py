"""Counts and sizes of the photos, and how often they are sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from markupsafe import Markup

from classifier_training.pages.charts.axes import Axis, axis_over
from classifier_training.pages.charts.bars import pair_bar
from classifier_training.pages.charts.columns import Column, column_chart, level
from classifier_training.pages.charts.svg import Frame, one_line
from classifier_training.pages.inline_images import figure_url
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.section import Section
from classifier_training.pages.wording import count, decimal, percentage
from classifier_training.run.sampler_distribution import SamplerDistribution
from classifier_training.run.statistics import Quantity, Statistics

KEY, TITLE = "photos", "Data and sampler"
MANY_CLASSES = 40  # from which on a chart of all classes is shown above the table
MOST_ROWS = 1_000  # classes; of more of them the table has the smallest and the largest ones
NUM_EXTREMES = 100
MOST_COLUMNS = 1_000
SPLITS = {"train": "training", "val": "validation", "test": "test"}
_TITLES: dict[Quantity, str] = {
    "width": "Width, pixels",
    "height": "Height, pixels",
    "aspect_ratio": "Width over height",
}


def photos_section(data: RunData) -> Section:
    """Photos by class and split, how often they are sampled, their sizes, and the bad files."""
    statistics, sampler = data.statistics, data.sampler
    if statistics is None and sampler is None:
        return Section(
            KEY, TITLE, is_of_training=True, empty="data/statistics.json and data/sampler_distribution.csv are missing."
        )
    rows = _rows(statistics, sampler)
    sampled = [row["sampled"] for row in rows if row["sampled"] is not None]
    values: dict[str, Any] = {
        "rows": _shown(rows),
        "num_classes": len(rows),
        "splits": [name for name in SPLITS if statistics is not None and name in statistics.counts],
        "split_names": SPLITS,
        "has_samples": sampler is not None and len(sampler.epochs) > 0,
        "total_sampled": sum(sampled) if sampled else None,
        "num_epochs": 0 if sampler is None else len(sampler.epochs),
        "class_chart": _class_chart(rows) if len(rows) > MANY_CLASSES else None,
        "is_long": len(rows) > MANY_CLASSES,
        "train_batch": figure_url(data.train_batch),
        "histograms": [] if statistics is None else _histograms(statistics),
        "modes": {} if statistics is None else statistics.modes,
        "bad": () if statistics is None else [(one_line(one.file), one.reason) for one in statistics.bad],
        "totals": {} if statistics is None else {name: sum(counts) for name, counts in statistics.counts.items()},
    }  # fmt: skip
    return Section(KEY, TITLE, is_of_training=True, lead=_lead(statistics, sampler), values=values)


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All classes; of very many the smallest ones and the largest ones, the smallest first."""
    if len(rows) <= MOST_ROWS:
        return rows
    ordered = sorted(rows, key=lambda row: row["held"])
    return [*ordered[:NUM_EXTREMES], *ordered[-NUM_EXTREMES:]]


def _rows(statistics: Statistics | None, sampler: SamplerDistribution | None) -> list[dict[str, Any]]:
    """A row for each class: photos by split, sampled photos in an epoch, and both as shares of the largest."""
    classes = statistics.classes if statistics is not None else () if sampler is None else sampler.classes
    counts = statistics.counts if statistics is not None else {}
    sampled = _mean_sampled(sampler, classes)
    held = counts.get("train") or tuple(0 for _ in classes)
    if statistics is None and sampler is not None:
        held = tuple(sampler.images.tolist())
    most = max([*held, *(one for one in sampled if one is not None), 1])
    return [
        {
            "name": one_line(name),
            "counts": {split: of_class[index] for split, of_class in counts.items()},
            "held": held[index],
            "sampled": sampled[index],
            "repeats": None if not held[index] or sampled[index] is None else (sampled[index] or 0.0) / held[index],
            "bar": pair_bar(held[index] / most, (sampled[index] or 0.0) / most),
        }
        for index, name in enumerate(classes)
    ]


def _mean_sampled(sampler: SamplerDistribution | None, classes: tuple[str, ...]) -> list[float | None]:
    if sampler is None or not len(sampler.epochs):
        return [None] * len(classes)
    means = dict(zip(sampler.classes, np.mean(sampler.sampled, axis=0).tolist(), strict=True))
    return [means.get(name) for name in classes]


def _class_chart(rows: list[dict[str, Any]]) -> Markup:
    """Training photos of all classes, from the largest to the smallest, and how often they are sampled."""
    groups = _groups(sorted(rows, key=lambda row: -row["held"]))
    heights = [float(np.mean([row["held"] for row in group])) for group in groups]
    known = all(row["sampled"] is not None for row in rows)
    sampled = [float(np.mean([row["sampled"] for row in group])) for group in groups] if known else []
    axis = axis_over([*heights, *sampled], "{:,.0f}".format, low=0, num_ticks=3, whole=True)
    columns = []
    for index, (group, height) in enumerate(zip(groups, heights, strict=True)):
        name = group[0]["name"][:60] + ("" if len(group) == 1 else f" … {group[-1]['name'][:60]}, mean")
        text = f"{name}\ntraining photos\t{height:,.0f}"
        text += f"\nsampled per epoch\t{sampled[index]:,.0f}" if known else ""
        columns.append(Column(index, index + 1, height, text))
    return column_chart(
        Frame(
            title="Training photos by class",
            description=f"{len(rows)} classes, from {heights[0]:,.0f} to {heights[-1]:,.0f} training photos.",
            x_name="classes, largest first",
        ),
        columns,
        x_axis=None,
        y_axis=axis,
        kind=3,
        over=level(sampled, axis, 1) if known else None,
    )


def _groups(ordered: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Neighbouring classes that share a column, where there are more classes than columns."""
    size = -(-len(ordered) // MOST_COLUMNS)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _histograms(statistics: Statistics) -> list[dict[str, Any]]:
    charts = []
    for key, name in _TITLES.items():
        histogram = statistics.histograms.get(key)
        if histogram is None or not any(histogram.counts):
            continue
        write = "{:,.0f}".format if key != "aspect_ratio" else "{:.2g}".format
        edges = histogram.edges
        columns = [  # of equal width: the edges grow by a factor where the values do
            Column(index, index + 1, number, f"{write(low)} to {write(high)}\nphotos\t{number:,}")
            for index, (low, high, number) in enumerate(zip(edges, edges[1:], histogram.counts, strict=False))
        ]
        description = f"{name}: from {write(edges[0])} to {write(edges[-1])}."
        svg = column_chart(
            Frame(title=name, description=description, size="low bare"),
            columns,
            x_axis=_edge_axis(edges, write),
            y_axis=axis_over(histogram.counts, "{:,.0f}".format, low=0, num_ticks=2, whole=True),
            kind=3,
        )
        charts.append({"title": name, "svg": svg, "spread": statistics.spreads.get(key)})
    return charts


def _edge_axis(edges: tuple[float, ...], write: Callable[[float], str]) -> Axis:
    """The axis of bins of equal width, labelled with some of their edges."""
    last = len(edges) - 1
    ticks = tuple(sorted({0, last // 3, 2 * last // 3, last}))
    return Axis(0, last, ticks, lambda position: write(edges[round(position)]))


def _lead(statistics: Statistics | None, sampler: SamplerDistribution | None) -> str:
    sentences = []
    if statistics is not None:
        parts = [f"{sum(counts):,} for {SPLITS[name]}" for name, counts in statistics.counts.items() if name in SPLITS]
        sentences.append(
            f"{count(statistics.num_images, 'photo')} of {count(len(statistics.classes), 'class', 'classes')}:"
            f" {', '.join(parts)}."
        )
        if statistics.imbalance_ratio is not None:
            times = f"{decimal(statistics.imbalance_ratio, 2)} times as many training photos as the smallest"
            is_even = statistics.imbalance_ratio < 1.5
            sentences.append("The classes are about the same size." if is_even else f"The largest class has {times}.")
    if sampler is not None and len(sampler.epochs):
        sentences.append(_sampling(sampler))
    return " ".join(sentences)


def _sampling(sampler: SamplerDistribution) -> str:
    """Whether the sampler changed the balance of the classes."""
    held = sampler.images / max(int(sampler.images.sum()), 1)
    sampled = sampler.sampled.sum(axis=0) / max(int(sampler.sampled.sum()), 1)
    if float(np.abs(held - sampled).max()) < 0.005:
        return "The classes are sampled as often as the data contains them."
    known = sampler.images > 0
    repeats = (sampler.sampled.mean(axis=0)[known] / sampler.images[known]).tolist()
    least, most = min(repeats), max(repeats)
    largest = percentage(float(sampled.max()), 0)
    return (
        f"Each photo is sampled between {least:.2g} and {most:.2g} times per epoch, depending on its class; no class is"
        f" more than {largest} of the sampled photos."
    )
