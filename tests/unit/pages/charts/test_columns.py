from __future__ import annotations

import json

from tests.helpers.markup import read_markup

from classifier_training.pages.charts.axes import Axis
from classifier_training.pages.charts.columns import Column, column_chart, level
from classifier_training.pages.charts.svg import Frame

FRAME = Frame(title="t", description="d", x_name="x")
FOURS = Axis(0, 4, (0, 2, 4), str)


def test_a_column_has_its_position_and_height() -> None:
    columns = [Column(0, 1, 1, "one"), Column(1, 2, None, "none"), Column(2, 3, 4, "four"), Column(3, 4, 0, "zero")]
    drawn = read_markup(column_chart(FRAME, columns, x_axis=None, y_axis=FOURS, kind=3))

    first, second = drawn.all("rect", "column")
    assert 0 < first.share("x") < first.share("x") + first.share("width") < 0.25
    assert (first.share("y"), first.share("height")) == (0.75, 0.25)
    assert 0.5 < second.share("x") < second.share("x") + second.share("width") < 0.75
    assert (second.share("y"), second.share("height")) == (0, 1)
    hits = json.loads(drawn.only("div").attributes["data-hits"])
    assert hits == [[12.5, "one"], [37.5, "none"], [62.5, "four"], [87.5, "zero"]]


def test_many_columns_touch_each_other() -> None:
    columns = [Column(place, place + 1, 2, "") for place in range(100)]
    drawn = read_markup(column_chart(FRAME, columns, x_axis=None, y_axis=FOURS))

    assert [column.share("width") for column in drawn.all("rect")] == [0.01] * 100


def test_there_may_be_no_columns() -> None:
    drawn = read_markup(column_chart(FRAME, [], x_axis=None, y_axis=FOURS))

    assert drawn.all("rect") == []


def test_a_level_is_over_each_column() -> None:
    first, second = read_markup(level([1, 3], FOURS, 1)).all("line")

    assert (first.share("x1"), first.share("x2"), first.share("y1"), first.share("y2")) == (0, 0.5, 0.75, 0.75)
    assert (second.share("x1"), second.share("x2"), second.share("y1")) == (0.5, 1, 0.25)
