from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.helpers.run_folders import RunMaker, edit_json

from classifier_training.run.folder import RunFolder
from classifier_training.run.records import DamagedFileError, read_record
from classifier_training.run.statistics import BadFile, Spread, Statistics


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunMaker(2, num_images=4).make(tmp_path / "run")


def test_statistics_are_read(run: RunFolder) -> None:
    statistics = read_record(run.statistics, Statistics)

    assert statistics.counts == {"train": (40, 47), "val": (20, 20), "test": (20, 20)}
    assert statistics.width == Spread(40, 300.5, 1600)
    assert statistics.histograms["aspect_ratio"].counts == (20, 40)
    assert statistics.modes == {"RGB": 55, "L": 5}
    assert statistics.bad == (BadFile("/photos/broken.jpg", "the file is truncated"),)


@pytest.mark.parametrize(
    "changes",
    [
        {"counts": {"train": [1]}},
        {"counts": {"train": [1, -1]}},
        {"classes": ["a"]},
        {"histograms": {"width": {"edges": [1, 2], "counts": [1, 2]}}},
        {"histograms": {"width": {"edges": [2, 1], "counts": [1]}}},
        {"histograms": {"width": {"edges": list(range(20_000)), "counts": [1] * 19_999}}},
        {"width": {"min": 1}},
        {"modes": {"RGB": "many"}},
        {"bad": ["file"]},
    ],
)
def test_statistics_that_do_not_fit_together_are_refused(run: RunFolder, changes: dict[str, Any]) -> None:
    edit_json(run.statistics, **changes)

    with pytest.raises(DamagedFileError):
        read_record(run.statistics, Statistics)


def test_what_is_not_known_is_left_out(run: RunFolder) -> None:
    edit_json(run.statistics, width=None, histograms={}, imbalance_ratio=None)

    statistics = read_record(run.statistics, Statistics)

    assert set(statistics.spreads) == {"height", "aspect_ratio"}
    assert (statistics.histograms, statistics.imbalance_ratio) == ({}, None)
