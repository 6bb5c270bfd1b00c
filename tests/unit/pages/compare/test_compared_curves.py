from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.helpers.run_folders import RunMaker

from classifier_training.pages.compare.compared_curves import compared_curves
from classifier_training.pages.compare.compared_runs import compared_runs
from classifier_training.pages.read.curves import Curves
from classifier_training.pages.read.run_data import read_run


def test_runs_of_different_length_share_their_axes(tmp_path: Path) -> None:
    data = [read_run(RunMaker(2, num_epochs=epochs).make(tmp_path / str(epochs)).root) for epochs in (2, 4)]

    charts = compared_curves(compared_runs(data).runs)

    assert [chart["title"] for chart in charts] == [
        "Top-1 on validation photos",
        "Balanced accuracy on validation photos",
        "Validation loss",
        "Training loss",
        "Learning rate",
        "Training images per second",
    ]
    assert charts[0]["legend"] == [(1, "2"), (2, "4")]
    assert "Epoch 4\\n2\\t—\\n4\\t85\N{NO-BREAK SPACE}%" in charts[0]["svg"]


def test_a_quantity_that_no_run_has_is_not_shown(tmp_path: Path) -> None:
    data = read_run(RunMaker(2).make(tmp_path / "run").root)
    only = replace(data, metrics=Curves((0,), {"lr": (None,), "val/loss": (0.5,)}), timings=Curves())
    none = replace(data, metrics=Curves(), timings=Curves())

    (chart,) = compared_curves(compared_runs([only, none]).runs)

    assert chart["title"] == "Validation loss"
    assert len(chart["legend"]) == 1
    assert compared_curves(compared_runs([none, none]).runs) == []


def test_many_runs_have_lines_of_known_kinds(tmp_path: Path) -> None:
    data = read_run(RunMaker(2).make(tmp_path / "run").root)

    charts = compared_curves(compared_runs([data] * 8).runs)

    assert [kind for kind, _ in charts[0]["legend"]] == [1, 2, 3, 4, 5, 6, 1, 2]
