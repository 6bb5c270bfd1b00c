from __future__ import annotations

import json

import pytest
from tests.helpers.markup import read_markup
from tests.helpers.run_folders import HOSTILE_NAMES

from classifier_training.pages.charts.svg import Frame, Hit, chart, element, number, one_line, percent, quoted


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_text_and_attributes_stay_text(name: str) -> None:
    (made,) = read_markup(element("text", name, title=name)).elements

    assert made.text == name
    assert made.attributes == {"title": name}


def test_names_of_attributes_are_those_of_svg() -> None:
    assert element("line", class_="grid", stroke_width=2, x1=None) == '<line class="grid" stroke-width="2"></line>'


@pytest.mark.parametrize(("value", "text"), [(1.0, "1"), (0.5, "0.5"), (2 / 3, "0.67"), (100.0, "100"), (0.0, "0")])
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_shares_are_percentages() -> None:
    assert percent(0.375) == "37.5%"


def test_a_name_is_shown_on_one_line_and_in_its_direction() -> None:
    assert one_line("a\r\nb\0c\u2028d") == "a␣b␣c␣d"
    assert one_line("\u202eevil\u2066") == "evil"
    assert one_line("\udcff.jpg") == "\N{REPLACEMENT CHARACTER}.jpg"
    assert one_line(" \n") != ""
    assert one_line("") == "(no name)"


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    short = one_line("begin" + "x" * 300 + "end", 20)

    assert len(short) == 20
    assert short.startswith("begin")
    assert short.endswith("end")


def test_a_name_in_a_sentence_turns_nothing_around_it() -> None:
    assert quoted("\u202eab") == "“\u2068ab\u2069”"


def test_a_chart_has_a_name_a_description_and_texts_by_position() -> None:
    frame = Frame(title="Loss & <more>", description="It falls.", group="g")
    made = read_markup(chart(frame, hits=[Hit(0.25, 'a "b"\nc')]))

    assert made.only("svg").attributes["role"] == "img"
    assert made.only("svg").attributes["aria-label"] == "Loss & <more>. It falls."
    assert made.only("title").text == "Loss & <more>"
    assert made.only("desc").text == "It falls."
    assert json.loads(made.only("div").attributes["data-hits"]) == [[25.0, 'a "b"\nc']]
    assert made.only("div").attributes["data-group"] == "g"
