"""Small bars in tables and sentences: a share, its interval, two shares."""

from __future__ import annotations

from markupsafe import Markup

from classifier_training.pages.charts.svg import element, label, percent


def share_bar(share: float | None, interval: tuple[float, float] | None = None, kind: int = 1) -> Markup:
    """A bar of a share in [0, 1] with a line from end to end of its interval; nothing where there is no share.

    It repeats a number next to it, so screen readers skip it. There may be thousands of bars on a page: the style sheet
    sets their height.
    """
    if share is None:
        return Markup("")
    parts = [element("rect", width=percent(share), class_=f"share kind-{kind}")]
    if interval is not None:
        low, high = interval
        parts.append(element("rect", x=percent(low), width=percent(high - low), class_="whisker"))
    return element("svg", *parts, class_="bar", aria_hidden="true")


def pair_bar(first: float, second: float) -> Markup:
    """Two bars of shares in [0, 1], one above the other."""
    upper = element("rect", width=percent(first), class_="upper kind-3")
    lower = element("rect", width=percent(second), class_="lower kind-1")
    return element("svg", upper, lower, class_="bar", aria_hidden="true")


def score_scale(score: float, interval: tuple[float, float] | None, name: str) -> Markup:
    """A scale from 0 to 100 % with a score in [0, 1] and its interval, and a name for screen readers."""
    ticks = [element("line", x1=percent(tick / 4), x2=percent(tick / 4), y1="30%", y2="70%", class_="base")
             for tick in range(5)]  # fmt: skip
    anchors = ("start", "middle", "middle", "middle", "end")
    marks = [label(f"{25 * tick}", tick / 4, 1, class_="tick", dy=4, anchor=anchors[tick]) for tick in range(5)]
    band: list[Markup] = []
    if interval is not None:
        low, high = interval
        band = [element("rect", x=percent(low), width=percent(high - low), y="22%", height="56%", class_="interval")]
    return element(
        "svg",
        element("line", x1="0", x2="100%", y1="50%", y2="50%", class_="base"),
        *ticks,
        *band,
        element("line", x1=percent(score), x2=percent(score), y1="8%", y2="92%", class_="score-mark"),
        *marks,
        class_="score-scale",
        role="img",
        aria_label=name,
    )
