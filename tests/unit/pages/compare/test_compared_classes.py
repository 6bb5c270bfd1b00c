from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.helpers.run_folders import RunMaker

from classifier_training.pages.compare.compared_classes import compared_classes
from classifier_training.pages.compare.compared_runs import compared_runs
from classifier_training.pages.read.run_data import RunData, read_run


def read(folder: Path, *makers: RunMaker) -> list[RunData]:
    return [read_run(maker.make(folder / str(place)).root) for place, maker in enumerate(makers)]


def test_the_best_run_comes_first_and_the_others_differ_from_it(tmp_path: Path) -> None:
    bad, good = RunMaker(2, skill=0.5), RunMaker(2, skill=5.0)

    table = compared_classes(compared_runs(read(tmp_path, bad, good)))

    assert table is not None
    assert table["labels"] == ["1", "0"]
    first, second = table["rows"][0]["cells"]
    assert first.recall == good.score("test").scores.classes[0].recall
    assert second.difference == pytest.approx(second.recall - first.recall)
    assert (first.difference, first.written_difference) == (None, "")
    assert second.written_difference.startswith("−")
    assert table["rows"][0]["spread"] == pytest.approx(-second.difference)


def test_a_class_that_a_run_does_not_know_or_did_not_see_is_none(tmp_path: Path) -> None:
    runs = read(tmp_path, RunMaker(("a", "b"), skill=9.0), RunMaker(("b", "c"), absent=[0]))

    table = compared_classes(compared_runs(runs))

    assert table is not None
    assert [row["name"] for row in table["rows"]] == ["a", "b", "c"]
    recalls = [[cell.recall is None for cell in row["cells"]] for row in table["rows"]]
    assert recalls == [[False, True], [False, True], [True, False]]
    assert [cell.support for cell in table["rows"][1]["cells"]] == [30, 0]
    assert [row["spread"] for row in table["rows"]] == [None] * 3


def test_nothing_is_compared_with_nothing(tmp_path: Path) -> None:
    (run,) = read(tmp_path, RunMaker(2))

    assert compared_classes(compared_runs([run, replace(run, final=None, validation=None)])) is None
