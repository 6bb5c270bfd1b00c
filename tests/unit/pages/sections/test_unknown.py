from __future__ import annotations

from tests.helpers.page_data import make_run

from classifier_training.pages.report import render_report
from classifier_training.pages.sections.unknown import unknown_section
from classifier_training.results.unknown_file import KindFigures, LeftOutClass, ScoreBin, UnknownEffect, UnknownRecord

EFFECT = UnknownEffect(kind="knn", threshold=0.3, num_images=200, num_unknown=12, share=0.06, interval=(0.035, 0.1))
RECORD = UnknownRecord(
    kind="knn",
    threshold=0.3,
    known_share=0.95,
    num_images=100,
    num_reference=1000,
    kinds=(
        KindFigures(kind="energy", auroc=0.7, low=0.5, high=0.9),
        KindFigures(kind="knn", auroc=0.81, low=0.6, high=1),
    ),
    left_out=(
        LeftOutClass(name="cat", auroc=0.62, num_images=30),
        LeftOutClass(name="<dog>", auroc=1.0, num_images=20),
    ),
    bins=(ScoreBin(low=0.0, high=0.2, known=90, left_out=10), ScoreBin(low=0.2, high=0.4, known=10, left_out=40)),
    measured=EFFECT,
)


def test_the_choice_the_histogram_and_the_share_are_told() -> None:
    run = make_run(unknown=RECORD)
    section = unknown_section(run)

    assert section is not None
    assert "The score is the distance to the nearest training images: in 81" in section.lead
    assert "AUROC 0.81, between 0.6 and 1 over 2\N{NO-BREAK SPACE}classes" in section.lead
    assert "test photos, 12 of 200 count as unknown" in section.lead
    assert [one["title"] for one in section.values["kinds"]][1] == "energy"
    assert [one.name for one in section.values["classes"]] == ["cat", "<dog>"]
    page = render_report(run)
    assert 'id="unknown"' in page
    assert "(chosen)" in page
    assert "&lt;dog&gt;" in page


def test_a_score_that_was_not_chosen_says_why() -> None:
    section = unknown_section(make_run(unknown=UnknownRecord(kind="energy", known_share=0.95, reason="2 classes have")))

    assert section is not None
    assert "which was not chosen by leaving out classes: 2 classes have." in section.lead
    assert section.values["histogram"] is None


def test_a_run_without_a_score_says_why_and_an_older_one_has_no_section() -> None:
    section = unknown_section(make_run(unknown=UnknownRecord(reason="3 validation images are too few")))

    assert section is not None
    assert section.empty == "There is no unknown score: 3 validation images are too few."
    assert unknown_section(make_run()) is None
