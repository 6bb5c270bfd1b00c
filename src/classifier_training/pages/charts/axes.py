"""Axes: positions of values, and the round numbers at their ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from classifier_training.pages.charts.svg import element, label, percent
from classifier_training.pages.wording import percentage

LONGEST_TICK = 5  # letters of a tick of a vertical axis for which every chart has room


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear axis.

    Attributes:
        low: Value at its start.
        high: Value at its end, above ``low``.
        ticks: Values that are labelled.
        write: Formats a value.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    write: Callable[[float], str]

    def share(self, value: float) -> float:
        """Position of a value: 0 at the start, 1 at the end."""
        return (value - self.low) / (self.high - self.low)


def axis_over(
    values: Iterable[float | None],
    write: Callable[[float], str],
    *,
    num_ticks: int = 5,
    low: float | None = None,
    high: float | None = None,
    whole: bool = False,
) -> Axis:
    """An axis of round numbers that contains all values.

    Args:
        values: What it has to contain; None and values that are not finite are ignored.
        write: Formats a value.
        num_ticks: About how many values are labelled.
        low: Where it starts; None: a round number below the smallest value.
        high: Where it ends; None: a round number above the largest value.
        whole: Only whole numbers are labelled.
    """
    finite = [value for value in values if value is not None and math.isfinite(value)]
    least = low if low is not None else min(finite, default=0.0)
    most = high if high is not None else max(finite, default=1.0)
    if most <= least:
        spread = abs(least) * 0.1 or 1.0
        least, most = (least if low is not None else least - spread), (most if high is not None else least + spread)
    step = _round_step((most - least) / max(num_ticks, 1), whole=whole)
    start = least if low is not None else math.floor(least / step + 1e-9) * step
    end = most if high is not None else math.ceil(most / step - 1e-9) * step
    first = math.ceil(start / step - 1e-9)
    last = math.floor(end / step + 1e-9)
    return Axis(start, end, tuple(step * count for count in range(first, last + 1)), write)


def share_axis(values: Sequence[float | None], *, num_ticks: int = 5, high: float | None = None) -> Axis:
    """An axis of shares in percent, with as many digits as its ticks have.

    Args:
        values: As of `axis_over`.
        num_ticks: About how many values are labelled.
        high: Where it ends; None: 100 % where the largest value is above 90 %, else a round number above that.
    """
    if high is None and max((value for value in values if value is not None), default=0.0) > 0.9:
        high = 1.0
    axis = axis_over(values, percentage, num_ticks=num_ticks, high=high)
    digits = 0
    while digits < 6 and any(abs(tick - round(tick, digits + 2)) * 10.0 ** (digits + 2) > 1e-6 for tick in axis.ticks):
        digits += 1
    return replace(axis, write=lambda value: percentage(value, digits))


def epoch_axis(epochs: Iterable[float]) -> Axis:
    """The axis of the epochs, from the first to the last; a single epoch is in the middle."""
    known = list(epochs)
    first, last = min(known, default=1.0), max(known, default=1.0)
    if last <= first:
        return Axis(first - 1, first + 1, (first,), lambda value: f"{value:.0f}")
    step = _round_step((last - first) / 7, whole=True)
    inner = [count * step for count in range(math.ceil(first / step), math.floor(last / step) + 1)]
    ticks = [first, *(tick for tick in inner if tick - first >= step * 0.6), last]
    if len(ticks) > 2 and ticks[-1] - ticks[-2] < step * 0.6:
        del ticks[-2]
    return Axis(first, last, tuple(ticks), lambda value: f"{value:.0f}")


def power_axis(powers: Sequence[float]) -> Axis:
    """An axis of powers of ten, which contains all values; each is given by its exponent."""
    low, high = math.floor(min(powers) + 1e-9), math.ceil(max(powers) - 1e-9)
    high = max(high, low + 1)
    step = max(1, math.ceil((high - low) / 7))
    return Axis(low, high, tuple(range(low, high + 1, step)), lambda power: f"{10**power:g}")


def horizontal_grid(axis: Axis) -> Markup:
    """The lines of a vertical axis and the values at their left ends."""
    lines: list[Markup] = []
    for tick in axis.ticks:
        y = 1 - axis.share(tick)
        lines.append(element("line", x1="0", x2="100%", y1=percent(y), y2=percent(y), class_="grid"))
        lines.append(label(axis.write(tick), 0, y, class_="tick", dx=-8, dy=4, anchor="end"))
    return Markup("").join(lines)


def tick_room(axis: Axis) -> str:
    """The CSS class of a chart whose vertical axis needs more room than usual for its values."""
    return "long-ticks" if any(len(axis.write(tick)) > LONGEST_TICK for tick in axis.ticks) else ""


def bottom_labels(axis: Axis, name: str) -> Markup:
    """The values under a horizontal axis, and its name."""
    marks = [label(axis.write(tick), axis.share(tick), 1, class_="tick", dy=17, anchor="middle") for tick in axis.ticks]
    base = element("line", x1="0", x2="100%", y1="100%", y2="100%", class_="base")
    return Markup("").join([base, *marks, label(name, 1, 1, class_="tick axis-name", dy=33, anchor="end")])


def _round_step(rough: float, *, whole: bool) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    factors = (1, 2, 5, 10) if whole else (1, 2, 2.5, 5, 10)
    step = next(factor * power for factor in factors if factor * power >= rough * (1 - 1e-9))
    return max(1.0, step) if whole else step
