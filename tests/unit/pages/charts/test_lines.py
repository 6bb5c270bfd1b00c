from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from tests.helpers.markup import Markup, read_markup

from classifier_training.pages.charts.axes import Axis
from classifier_training.pages.charts.lines import MOST_DOTS, Line, line_chart
from classifier_training.pages.charts.svg import Frame

FRAME = Frame(title="Loss", description="It falls.", x_name="epoch")
TENS = Axis(0, 10, (0, 5, 10), str)


def draw(values: Sequence[float | None], *, hits: Sequence[str] = (), mark: tuple[float, str] | None = None) -> Markup:
    made = line_chart(
        FRAME,
        list(range(len(values))),
        [Line("loss", values)],
        x_axis=Axis(0, max(len(values) - 1, 1), (), str),
        y_axis=TENS,
        hits=hits,
        marks=() if mark is None else (mark,),
    )
    return read_markup(made)


def path(markup: Markup) -> str:
    return markup.only("path").attributes["d"]


def test_a_value_lands_where_it_must() -> None:
    drawn = draw([0, 5, 10])

    assert path(drawn) == "M0 1000L500 500L1000 0"
    assert [(dot.share("cx"), dot.share("cy")) for dot in drawn.all("circle")] == [(0, 1), (0.5, 0.5), (1, 0)]


@pytest.mark.parametrize("gap", [None, float("nan"), float("inf")])
def test_a_value_that_is_not_a_number_leaves_a_gap(gap: float | None) -> None:
    drawn = draw([0, 0, gap, 10, 10])

    assert path(drawn) == "M0 1000L250 1000M750 0L1000 0"
    assert len(drawn.all("circle")) == 4


def test_one_point_is_visible() -> None:
    (dot,) = draw([5]).all("circle")

    assert (dot.share("cx"), dot.share("cy")) == (0, 0.5)


def test_of_many_points_those_that_stand_alone_are_visible() -> None:
    values: list[float | None] = [5.0] * (MOST_DOTS + 1)

    assert draw(values).all("circle") == []
    (dot,) = draw([*values, None, 2.5]).all("circle")
    assert (dot.share("cx"), dot.share("cy")) == (1, 0.75)


def test_nothing_known_draws_nothing() -> None:
    drawn = draw([None, None])

    assert path(drawn) == ""
    assert drawn.all("circle") == []


def test_every_point_says_its_values() -> None:
    drawn = draw([1, 2, 3], hits=["first", "second", "third"])

    assert json.loads(drawn.only("div").attributes["data-hits"]) == [[0, "first"], [50, "second"], [100, "third"]]


@pytest.mark.parametrize(("at", "side"), [(0, "start"), (2, "end")])
def test_the_name_of_a_mark_stays_inside(at: int, side: str) -> None:
    drawn = draw([1, 2, 3], mark=(at, "best epoch"))

    assert drawn.only("line", "mark").share("x1") == at / 2
    assert drawn.only("text", "mark-name").text == "best epoch"
    assert drawn.only("text", "mark-name").attributes.get("text-anchor", "start") == side


def test_lines_differ_by_more_than_one_class() -> None:
    lines = [Line("a", [1, 2], kind=1), Line("b", [2, 1], kind=2)]
    axis = Axis(0, 1, (), str)
    drawn = read_markup(line_chart(FRAME, [0, 1], lines, x_axis=axis, y_axis=TENS))

    assert [one.classes for one in drawn.all("path")] == [["line", "kind-1"], ["line", "kind-2"]]
