"""SVG elements as text in which all outside text is escaped.

A chart fills its width: it has no ``viewBox`` and positions are percentages, so letters keep their size on a phone.
Lines and areas, which need coordinates, are in an inner ``svg`` that is stretched to the whole chart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup, escape

from classifier_training.figures.text import shortened

INNER = 1000.0  # side of the inner coordinates, which are stretched to the chart
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SURROGATES = re.compile("[\ud800-\udfff]")


class Hit(NamedTuple):
    """A position in [0, 1] from the left, and the lines of text shown when it is pointed at or reached by keyboard."""

    share: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What surrounds the drawing of a chart.

    Attributes:
        title: Name of the chart, for screen readers.
        description: What it shows, in a sentence.
        x_name: What the horizontal axis shows.
        size: Further CSS classes, which set the height.
        group: Charts of one group show the same hit at the same time.
    """

    title: str
    description: str
    x_name: str = ""
    size: str = ""
    group: str | None = None


def element(name: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """One element; children that are not `Markup` and all attribute values are escaped.

    Args:
        name: The element's name.
        children: Its content.
        attributes: Its attributes: ``class_`` is written ``class`` and ``stroke_width`` is ``stroke-width``; those
            that are None are left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value) if isinstance(value, str) else number(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = "".join(map(escape, children))
    return Markup(f"<{name}{written}>{content}</{name}>")  # noqa: S704 - every value was escaped


def number(value: float) -> str:
    """A number with at most two digits after the point."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def percent(share: float) -> str:
    """A position or length in [0, 1] as SVG takes it, such as ``37.5%``."""
    return f"{number(100 * share)}%"


def one_line(text: str, longest: int | None = None) -> str:
    """A class or file name that can be shown: without line breaks, direction marks and lone surrogates.

    With ``longest``, only so many letters are kept, from the beginning and the end.
    """
    text = _CONTROLS.sub("␣", _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", _DIRECTIONS.sub("", text)))
    text = text if text.strip() else "(no name)"
    return text if longest is None else shortened(text, longest)


def quoted(name: str, longest: int = 40) -> str:
    """A name in a sentence: in quotes, and isolated, so that a right-to-left name does not change the rest."""
    return f"“\N{FIRST STRONG ISOLATE}{one_line(name, longest)}\N{POP DIRECTIONAL ISOLATE}”"


def stretched(*children: Markup) -> Markup:
    """An inner image of 1000 × 1000 that fills the chart; lines keep their width."""
    return element(
        "svg", *children, viewBox=f"0 0 {INNER:g} {INNER:g}", preserveAspectRatio="none", width="100%", height="100%",
        overflow="visible", aria_hidden="true",
    )  # fmt: skip


def chart(frame: Frame, *children: Markup, hits: Iterable[Hit] = ()) -> Markup:
    """A whole chart: the image with its title and description, and its texts from left to right."""
    places = json.dumps([[round(100 * hit.share, 2), hit.text] for hit in hits], ensure_ascii=False)
    image = element(
        "svg", element("title", frame.title), element("desc", frame.description), *children,
        class_="plot", role="img", aria_label=f"{frame.title}. {frame.description}",
    )  # fmt: skip
    return element(
        "div", image, class_=f"chart {frame.size}".strip(), data_hits=places, data_group=frame.group,
        data_title=frame.title,
    )  # fmt: skip


def label(text: str, x: float, y: float, *, class_: str, dx: float = 0, dy: float = 0, anchor: str = "start") -> Markup:
    """A text at a position in [0, 1], moved by pixels."""
    return element(
        "text", escape(text), class_=class_, x=percent(x), y=percent(y), dx=dx or None, dy=dy or None,
        text_anchor=None if anchor == "start" else anchor,
    )  # fmt: skip
