from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.helpers.run_folders import RunMaker, edit_json

from classifier_training.pages.read.photo_data import Spread, read_sampler_distribution, read_statistics
from classifier_training.pages.read.reading import DamagedFileError
from classifier_training.run.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunMaker(2, num_images=4).make(tmp_path / "run")


def test_statistics_are_read(run: RunFolder) -> None:
    statistics = read_statistics(run.statistics)

    assert statistics.counts == {"train": (40, 47), "val": (20, 20), "test": (20, 20)}
    assert statistics.spreads["width"] == Spread(40, 300.5, 1600)
    assert statistics.histograms["aspect_ratio"].counts == (20, 40)
    assert statistics.modes == {"RGB": 55, "L": 5}
    assert statistics.bad == (("/photos/broken.jpg", "the file is truncated"),)


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
        read_statistics(run.statistics)


def test_what_is_not_known_is_left_out(run: RunFolder) -> None:
    edit_json(run.statistics, width=None, histograms={}, imbalance_ratio=None)

    statistics = read_statistics(run.statistics)

    assert set(statistics.spreads) == {"height", "aspect_ratio"}
    assert (statistics.histograms, statistics.imbalance_ratio) == ({}, None)


@pytest.mark.parametrize(
    "text",
    [
        "epoch,class,images,drawn\n",
        "epoch,class,drawn,images\n0,a,1,1\n",
        "epoch,class,images,drawn\n0,a,1,1\n0,b,1,1\n1,a,1,1\n",
        "epoch,class,images,drawn\n0,a,-1,1\n",
        "epoch,class,images,drawn\n0,a,1,x\n",
    ],
)
def test_draws_that_do_not_fit_together_are_refused(run: RunFolder, text: str) -> None:
    run.sampler_distribution.write_text(text, encoding="utf-8")

    with pytest.raises(DamagedFileError):
        read_sampler_distribution(run.sampler_distribution)


def test_draws_may_begin_after_a_resume_and_stand_in_any_order(run: RunFolder) -> None:
    run.sampler_distribution.write_text(
        "epoch,class,images,drawn\n3,b,5,6\n2,b,5,7\n2,a,1,2\n3,a,1,3\n", encoding="utf-8"
    )

    draws = read_sampler_distribution(run.sampler_distribution)

    assert (draws.classes, draws.epochs, draws.images.tolist()) == (("b", "a"), (2, 3), [5, 1])
    assert draws.drawn.tolist() == [[7, 2], [6, 3]]
