from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.page_data import make_run, make_scored, make_statistics, make_verification

from classifier_training.pages.caveats import caveats
from classifier_training.pages.read.run_data import OnnxFile, RunData
from classifier_training.results.final_choice import Candidate, FinalChoice
from classifier_training.results.results_file import ReplacedBest
from classifier_training.run.sampler_distribution import SamplerDistribution
from classifier_training.run.statistics import BadFile

GOOD = ((150, 10), (5, 150))


def titles(data: RunData) -> list[str]:
    return [f"{caveat.level}: {caveat.title}".replace("\N{NO-BREAK SPACE}", " ") for caveat in caveats(data)]


def test_a_large_and_clean_test_set_raises_no_caveat() -> None:
    assert titles(make_run(final=make_scored(GOOD), statistics=make_statistics())) == []


def test_the_split_that_chose_the_weights_is_not_a_test_split() -> None:
    assert titles(make_run(final=make_scored(GOOD, split="val"))) == ["serious: No test split"]
    running = make_run(status="training", final=None, validation=make_scored(GOOD, split="val"))
    assert titles(running) == []


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"num_trained_on": 12}, "serious: 12 of 315 photos were in the training data"),
        ({"split": "train"}, "serious: Scored on training photos"),
        ({"left_out": ("a.jpg", "b.jpg")}, "note: 2 files left out"),
        ({"copies": ("2 image(s) have one content under several labels",)}, "note: Copies among the photos"),
    ],
)
def test_what_was_scored(changes: dict[str, Any], title: str) -> None:
    assert titles(make_run(final=make_scored(GOOD, **changes))) == [title]


@pytest.mark.parametrize(("score", "shown"), [(0.875, "those of epoch 8 (0.875)."), (None, "epoch 8 (unknown).")])
def test_best_weights_that_are_not_those_that_were_recorded(score: float | None, shown: str) -> None:
    replaced = ReplacedBest(epoch=3, score=0.9, found_epoch=7, found_score=score)

    (found,) = caveats(make_run(final=make_scored(GOOD), statistics=make_statistics(), replaced_best=replaced))

    assert (found.level, found.title) == ("serious", "best.ckpt holds the weights of epoch 8, not of the best epoch")
    assert "recorded epoch 4 as the best, with val/top1 0.9." in found.text
    assert shown in found.text


def test_photos_that_were_trained_on_and_copies_are_named() -> None:
    scored = make_scored(
        GOOD, num_trained_on=12, trained_on=("a.jpg", "b\n.jpg", "c.jpg", "d.jpg"), copies=("2 <are>",)
    )

    trained_on, copies = caveats(make_run(final=scored))

    named = trained_on.text.translate(dict.fromkeys(map(ord, "\u2068\u2069")))
    assert named.endswith(" on new photos. The first: “a.jpg”, “b␣.jpg” and “c.jpg”.")
    assert copies.text == "2 <are>."


def test_few_photos_give_a_rough_score() -> None:
    (few, small) = caveats(make_run(final=make_scored(((8, 1), (1, 90)))))

    assert few.title.startswith("Only 100")
    assert "8 percentage points wide" in few.text
    assert small.title.replace("\N{NO-BREAK SPACE}", " ") == "1 of 2 classes has fewer than 10 photos"


@pytest.mark.parametrize(
    ("confusion", "title"),
    [
        (((8, 0, 0), (0, 300, 0), (0, 0, 0)), "1 of 3 classes has fewer than 10 photos, another 1 has none"),
        (
            ((8, 0, 0, 0), (0, 300, 0, 0), (0,) * 4, (0,) * 4),
            "1 of 4 classes has fewer than 10 photos, another 2 have none",
        ),
    ],
)
def test_few_photos_and_none_are_distinguished(confusion: Any, title: str) -> None:
    assert f"note: {title}" in titles(make_run(final=make_scored(confusion)))


def test_several_classes_without_photos_are_they() -> None:
    (absent,) = caveats(make_run(final=make_scored(((300, 0, 0), (0, 0, 0), (0, 0, 0)))))

    assert "how well they would be recognised" in absent.text


@pytest.mark.parametrize(
    ("validated", "changes", "wanted"),
    [
        ((25, 25), {}, []),
        ((25, 24), {}, ["note: Only 49 validation photos"]),
        ((60, 0), {}, ["note: 1 class without a validation photo"]),
        ((0, 0), {}, []),
        ((25, 24), {"best_epoch": None}, []),
    ],
)
def test_a_weak_validation(validated: tuple[int, int], changes: dict[str, Any], wanted: list[str]) -> None:
    statistics = make_statistics(counts={"train": (50, 50), "val": validated})

    assert titles(make_run(final=make_scored(GOOD), statistics=statistics, **changes)) == wanted


def test_few_validation_photos_are_told_by_what_they_choose() -> None:
    statistics = make_statistics(counts={"train": (50, 50), "val": (10, 14)})

    def texts(**changes: Any) -> list[str]:
        return [one.text for one in caveats(make_run(final=make_scored(GOOD), statistics=statistics, **changes))]

    choice = FinalChoice(
        chosen="epoch 3", candidates=(Candidate(name="epoch 3", loss=0.5, top1=0.9, difference=0.0),), num_images=24
    )
    (of_epochs,), (of_weights,) = texts(), texts(choice=choice)
    assert of_epochs.startswith("They decide which epoch is the best;")
    assert of_weights.startswith("They decide which weights are the final ones;")
    assert texts(config={"recipe": {"name": "probe"}}) == []


def test_up_to_three_classes_without_a_validation_photo_are_named() -> None:
    for num_classes, words in ((4, "“b”, “c” and “d”"), (5, "“b”, “c” and 2 more")):
        nothing = (0,) * (num_classes - 1)
        statistics = make_statistics(
            classes=tuple("abcde"[:num_classes]), counts={"train": (9,) * num_classes, "val": (90, *nothing)}
        )
        (caveat,) = caveats(make_run(final=make_scored(GOOD), statistics=statistics))
        assert words in caveat.text.translate({0x2068: None, 0x2069: None})


def test_a_class_without_validation_photos_has_one_caveat() -> None:
    statistics = make_statistics(counts={"train": (50, 50), "val": (200, 0)})
    scored = make_scored(((200, 0), (0, 0)), split="val")

    assert titles(make_run(status="training", final=None, validation=scored, statistics=statistics)) == [
        "serious: 1 class without a scored photo"
    ]


@pytest.mark.parametrize(
    ("num_images", "wanted"), [(9, ["note: The exported file is verified on only 9 photos"]), (10, [])]
)
def test_an_export_that_is_verified_on_few_photos(num_images: int, wanted: list[str]) -> None:
    data = make_run(
        final=make_scored(GOOD),
        verification=make_verification(num_images=num_images),
        onnx=OnnxFile(Path("model.onnx"), 1000, "0" * 64, is_verified=True),
    )

    assert titles(data) == wanted


def test_a_class_without_photos_is_named() -> None:
    (absent,) = caveats(make_run(final=make_scored(((200, 0), (0, 0)))))

    assert absent.level == "serious"
    assert "class 1" in absent.text
    assert "class 0" not in absent.text


def test_serious_ones_come_first() -> None:
    levels = [caveat.level for caveat in caveats(make_run(final=make_scored(((8, 1), (0, 0)), split="val")))]

    assert levels == sorted(levels, reverse=True)
    assert set(levels) == {"serious", "note"}


@pytest.mark.parametrize(
    ("passed", "is_verified", "wanted"),
    [
        (True, True, []),
        (True, False, ["serious: The exported file is not verified"]),
        (False, False, ["serious: The exported file does not match the model"]),
    ],
)
def test_an_export_that_is_not_verified(passed: bool, is_verified: bool, wanted: list[str]) -> None:
    data = make_run(
        final=make_scored(GOOD),
        verification=make_verification(passed=passed),
        onnx=OnnxFile(Path("model.onnx"), 1000, "0" * 64, is_verified),
    )

    assert titles(data) == wanted


@pytest.mark.parametrize(
    ("balance", "text"), [("none", "nothing corrects this"), ("sampler", "data.balance=sampler corrects this")]
)
def test_strong_imbalance_is_reported_with_its_correction(balance: str, text: str) -> None:
    statistics = make_statistics(imbalance_ratio=20.0)
    (caveat,) = caveats(make_run(final=make_scored(GOOD), statistics=statistics, config={"data": {"balance": balance}}))

    assert caveat.title == "The largest class is 20 times the smallest"
    assert text in caveat.text


def test_bad_files_and_classes_never_sampled() -> None:
    sampled = SamplerDistribution(("a", "b"), (0, 1), np.array([5, 5]), np.array([[5, 0], [5, 0]]))
    data = make_run(
        final=make_scored(GOOD), statistics=make_statistics(bad=(BadFile("x.jpg", "truncated"),)), sampler=sampled
    )

    assert titles(data) == ["serious: 1 class never sampled", "note: 1 bad file"]


def test_a_training_without_weights_to_be_had_has_a_caveat() -> None:
    weights = {"source": "missing", "reason": "timm has none for x"}
    data = make_run(final=make_scored(GOOD), statistics=make_statistics(), environment={"weights": weights})

    (found,) = caveats(data)

    assert (found.level, found.title) == ("note", "Trained from scratch")
    assert "There were no pretrained weights: timm has none for x. From weights" in found.text


def test_test_time_augmentation_is_named() -> None:
    run = make_run(final=make_scored(GOOD, tta="five"), statistics=make_statistics())

    (found,) = caveats(run)

    assert (found.level, found.title) == ("note", "With test-time augmentation five: 5 × the time")
    assert found.text == "These scores hold for predict --tta five; without it, expect others."
