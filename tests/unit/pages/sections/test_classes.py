from __future__ import annotations

from dataclasses import replace

from tests.helpers.page_data import make_run, make_scored

from classifier_training.pages.sections.classes import FEW, FILTER_FROM, classes_section


def plain(text: str) -> str:
    return text.translate({0xA0: " ", 0x2068: None, 0x2069: None})


def test_the_weakest_and_the_strongest_class_are_named() -> None:
    section = classes_section(make_run(final=make_scored(((90, 10), (5, 95)))))

    assert plain(section.lead) == (
        "The weakest class is “class 0” (F1 92.3 %, 100 photos), the strongest “class 1” (F1 92.7 %, 100 photos)."
    )


def test_an_absent_class_is_neither_and_its_scores_are_not_defined() -> None:
    section = classes_section(make_run(final=make_scored(((9, 0, 0), (0, 9, 0), (0, 0, 0)))))

    assert plain(section.lead) == (
        "All classes with photos have an F1 of 100 %. “class 2” has no test photo: its scores are not known."
    )
    assert section.values["rows"][2]["scores"] == [(None, None)] * 3


def test_several_absent_classes() -> None:
    section = classes_section(make_run(final=make_scored(((9, 0, 0), (0, 0, 0), (0, 0, 0)))))

    assert plain(section.lead).endswith("“class 1” and “class 2” have no test photo: their scores are not known.")


def test_few_photos_are_marked() -> None:
    rows = classes_section(make_run(final=make_scored(((FEW - 1, 0), (0, FEW))))).values["rows"]

    assert [row["is_few"] for row in rows] == [True, False]


def test_intervals_are_spoken_of_where_there_are_some() -> None:
    plain_scores = make_scored()
    row = replace(plain_scores.per_class[0], recall_interval=(0.8, 0.9))

    assert classes_section(make_run()).values["has_intervals"] is False
    scored = replace(plain_scores, per_class=(row, *plain_scores.per_class[1:]))
    assert classes_section(make_run(final=scored)).values["has_intervals"] is True


def test_many_classes_can_be_searched() -> None:
    for num_classes, has_filter in ((FILTER_FROM - 1, False), (FILTER_FROM, True)):
        scored = make_scored([[1] * num_classes] * num_classes)
        assert classes_section(make_run(final=scored)).values["has_filter"] is has_filter


def test_while_training_they_are_of_the_validation() -> None:
    section = classes_section(make_run(status="training", final=None, validation=make_scored(split="val")))

    assert section.values["photos"] == "validation photos"
