"""Reads HTML and SVG as a browser's parser would see it, for tests that look at elements and not at text."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass(slots=True)
class Element:
    """One element.

    Attributes:
        tag: Its name, in small letters.
        attributes: Their values; of one without value the empty text.
        text: All text in it.
    """

    tag: str
    attributes: dict[str, str]
    text: str = ""

    @property
    def classes(self) -> list[str]:
        """Its CSS classes."""
        return self.attributes.get("class", "").split()

    def share(self, name: str) -> float:
        """An attribute such as ``37.5%`` as a share in [0, 1]."""
        return float(self.attributes[name].removesuffix("%")) / 100


@dataclass(slots=True)
class Markup:
    """All elements, in the order in which they begin."""

    elements: list[Element] = field(default_factory=list)

    def all(self, tag: str, class_name: str | None = None) -> list[Element]:
        """The elements of a name, and of a CSS class."""
        return [one for one in self.elements if one.tag == tag and (class_name is None or class_name in one.classes)]

    def only(self, tag: str, class_name: str | None = None) -> Element:
        """The one such element."""
        (element,) = self.all(tag, class_name)
        return element

    def with_id(self, name: str) -> Element:
        """The one element of an id."""
        (element,) = [one for one in self.elements if one.attributes.get("id") == name]
        return element


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.markup = Markup()
        self.open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.markup.elements.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.markup.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data


def read_markup(text: str) -> Markup:
    """Parses a page or a part of one."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.markup
