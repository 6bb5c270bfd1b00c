from __future__ import annotations

import json

from tests.helpers.markup import read_markup

from classifier_training.pages.charts.reliability import reliability_diagram
from classifier_training.results.scores_file import CalibrationBin

BINS = (
    CalibrationBin(0.0, 0.25, 0, None, None),
    CalibrationBin(0.25, 0.5, 4, 0.5, 0.25),
    CalibrationBin(0.5, 0.75, 4, 0.75, 1.0),
    CalibrationBin(0.75, 1.0, 1, 1.0, 1.0),
)


def test_bins_show_the_gap_from_accuracy_to_confidence() -> None:
    drawn = read_markup(reliability_diagram(BINS, ["a", "b", "c", "d"], "words"))

    columns = [(round(one.share("y"), 4), round(one.share("height"), 4)) for one in drawn.all("rect", "faint")]
    assert columns == [(0.75, 0.25), (0, 1), (0, 1)]
    over = drawn.only("rect", "over")
    assert (over.share("y"), over.share("height")) == (0.5, 0.25)
    under = [(one.share("y"), one.share("height")) for one in drawn.all("rect", "under")]
    assert under == [(0, 0.25), (0, 0)]
    assert [(dot.share("cx"), dot.share("cy")) for dot in drawn.all("circle")] == [(0.5, 0.75), (0.75, 0), (1, 0)]


def test_an_empty_bin_says_so_too() -> None:
    drawn = read_markup(reliability_diagram(BINS, ["a", "b", "c", "d"], "words"))

    hits = json.loads(drawn.only("div").attributes["data-hits"])
    assert hits == [[12.5, "a"], [37.5, "b"], [62.5, "c"], [87.5, "d"]]
    assert drawn.only("desc").text == "words"
