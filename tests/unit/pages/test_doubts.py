from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.page_data import make_run, make_scored

from classifier_training.pages.doubts import doubts
from classifier_training.pages.model_data import OnnxFile, Verification
from classifier_training.pages.photo_data import SamplerDraws, Statistics
from classifier_training.pages.run_data import RunData

GOOD = ((150, 10), (5, 150))


def titles(data: RunData) -> list[str]:
    return [f"{doubt.level}: {doubt.title}".replace("\N{NO-BREAK SPACE}", " ") for doubt in doubts(data)]


def make_statistics(**changes: Any) -> Statistics:
    values: dict[str, Any] = {
        "root": "/photos",
        "num_images": 100,
        "classes": ("a", "b"),
        "counts": {"train": (50, 50)},
        "imbalance_ratio": 1.0,
        "spreads": {},
        "histograms": {},
        "modes": {},
        "bad": (),
    }
    return Statistics(**(values | changes))


def test_a_large_and_clean_test_set_raises_no_doubt() -> None:
    assert titles(make_run(final=make_scored(GOOD), statistics=make_statistics())) == []


def test_the_split_that_chose_the_weights_is_no_test() -> None:
    assert titles(make_run(final=make_scored(GOOD, split="val"))) == ["serious: No test split"]
    running = make_run(status="training", final=None, validation=make_scored(GOOD, split="val"))
    assert titles(running) == []


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"num_trained_on": 12}, "serious: 12 of 315 photos were trained on"),
        ({"split": "train"}, "serious: Scored on training photos"),
        ({"left_out": ("a.jpg", "b.jpg")}, "note: 2 files left out"),
    ],
)
def test_what_was_scored(changes: dict[str, Any], title: str) -> None:
    assert titles(make_run(final=make_scored(GOOD, **changes))) == [title]


def test_few_photos_give_a_rough_score() -> None:
    (few, small) = doubts(make_run(final=make_scored(((8, 1), (1, 90)))))

    assert few.title.startswith("Only 100")
    assert "8 percentage points wide" in few.text
    assert small.title.replace("\N{NO-BREAK SPACE}", " ") == "1 of 2 classes has fewer than 10 photos"


def test_a_class_without_photos_is_named() -> None:
    (absent,) = doubts(make_run(final=make_scored(((200, 0), (0, 0)))))

    assert absent.level == "serious"
    assert "class 1" in absent.text
    assert "class 0" not in absent.text


def test_serious_ones_come_first() -> None:
    levels = [doubt.level for doubt in doubts(make_run(final=make_scored(((8, 1), (0, 0)), split="val")))]

    assert levels == sorted(levels, reverse=True)
    assert set(levels) == {"serious", "note"}


@pytest.mark.parametrize(
    ("passed", "is_proven", "wanted"),
    [
        (True, True, []),
        (True, False, ["serious: The exported file is not proven"]),
        (False, False, ["serious: The exported file does not answer like the model"]),
    ],
)
def test_an_export_that_is_not_proven(passed: bool, is_proven: bool, wanted: list[str]) -> None:
    data = make_run(
        final=make_scored(GOOD),
        verification=Verification(passed, 32, 1e-3, 1.0, 1e-6, "0" * 64, {}),
        onnx=OnnxFile(Path("model.onnx"), 1000, "0" * 64, is_proven),
    )

    assert titles(data) == wanted


@pytest.mark.parametrize(
    ("balance", "text"), [("none", "nothing corrects it"), ("sampler", "data.balance=sampler corrects it")]
)
def test_strong_imbalance_is_told_with_what_is_done_about_it(balance: str, text: str) -> None:
    statistics = make_statistics(imbalance_ratio=20.0)
    (doubt,) = doubts(make_run(final=make_scored(GOOD), statistics=statistics, config={"data": {"balance": balance}}))

    assert doubt.title == "The largest class is 20 times the smallest"
    assert text in doubt.text


def test_bad_files_and_classes_never_drawn() -> None:
    drawn = SamplerDraws(("a", "b"), (0, 1), np.array([5, 5]), np.array([[5, 0], [5, 0]]))
    data = make_run(final=make_scored(GOOD), statistics=make_statistics(bad=(("x.jpg", "truncated"),)), sampler=drawn)

    assert titles(data) == ["serious: 1 class never drawn", "note: 1 bad file"]
