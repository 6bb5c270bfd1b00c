from __future__ import annotations

import pytest
from tests.helpers.markup import read_markup

from classifier_training.pages.charts.bars import pair_bar, score_scale, share_bar


def test_a_bar_is_as_long_as_its_share() -> None:
    drawn = read_markup(share_bar(0.625, (0.5, 0.75)))

    assert drawn.only("rect", "share").share("width") == 0.625
    whisker = drawn.only("rect", "whisker")
    assert (whisker.share("x"), whisker.share("width")) == (0.5, 0.25)
    assert drawn.only("svg").attributes["aria-hidden"] == "true"


def test_nothing_is_drawn_of_what_is_not_defined() -> None:
    assert share_bar(None, (0.0, 1.0)) == ""


def test_two_bars_are_compared() -> None:
    drawn = read_markup(pair_bar(0.25, 1))

    assert drawn.only("rect", "upper").share("width") == 0.25
    assert drawn.only("rect", "lower").share("width") == 1


@pytest.mark.parametrize("interval", [None, (0.5, 0.875)])
def test_a_score_lies_on_its_scale(interval: tuple[float, float] | None) -> None:
    drawn = read_markup(score_scale(0.75, interval, "75 % of 4 photos"))

    assert drawn.only("line", "score-mark").share("x1") == 0.75
    bands = [(band.share("x"), band.share("width")) for band in drawn.all("rect", "interval")]
    assert bands == ([] if interval is None else [(0.5, 0.375)])
    assert drawn.only("svg").attributes["aria-label"] == "75 % of 4 photos"
