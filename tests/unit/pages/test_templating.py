from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

import pytest
from jinja2 import UndefinedError
from tests.helpers.markup import read_markup

from classifier_training.pages.templating import SCRIPTS, environment, render_page

VALUES = {"title": "<b>&\"'", "kind": "Page", "made": "today"}


def test_the_policy_allows_this_script_and_this_style_alone() -> None:
    text = render_page("base.html.j2", VALUES)
    page = read_markup(text)

    policy = next(one for one in page.all("meta") if "http-equiv" in one.attributes).attributes["content"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for rule, element in (("script-src", page.only("script")), ("style-src", page.only("style"))):
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_text_is_escaped() -> None:
    assert read_markup(render_page("base.html.j2", VALUES)).only("h1").text == VALUES["title"]


def test_what_cannot_be_written_is_replaced() -> None:
    text = render_page("base.html.j2", VALUES | {"title": "a\udcffb\0c"})

    assert read_markup(text).only("h1").text == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    text.encode("utf-8")


def test_a_value_that_is_not_there_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render_page("base.html.j2", {"title": "a"})


def test_json_does_not_end_a_script() -> None:
    template = environment().from_string("<script type='application/json'>{{ values | tojson }}</script>")
    text = template.render(values=["</script><img>", "<!--", "&amp;", "\u2028"])

    assert not re.search("[<>&\u2028]", text.removeprefix("<script type='application/json'>").removesuffix("</script>"))


@pytest.mark.parametrize("name", [*SCRIPTS, "page.css"])
def test_no_file_of_ours_ends_its_element_or_asks_for_anything(name: str) -> None:
    text = resources.files("classifier_training.pages").joinpath("static", name).read_text(encoding="utf-8")

    assert "</" not in text
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|fetch\(|XMLHttpRequest|import\(|eval\(", text)
