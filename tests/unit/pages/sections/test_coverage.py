from __future__ import annotations

from tests.helpers.page_data import make_run, make_scored

from classifier_training.pages.sections.coverage import coverage_section, coverage_sentence
from classifier_training.results.scores_file import CoveragePoint


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


POINTS = (
    CoveragePoint(0.0, 1.0, 0.80),
    CoveragePoint(0.5, 0.9, 0.85),
    CoveragePoint(0.7, 0.7, 0.91),
    CoveragePoint(0.9, 0.4, 0.96),
    CoveragePoint(1.0, 0.0, None),
)
WRONG_20_OF_100 = ((40, 10), (10, 40))


def test_the_sentence_has_the_lowest_threshold_that_halves_the_errors() -> None:
    assert plain(coverage_sentence(make_scored(WRONG_20_OF_100, coverage=POINTS))) == (
        "Predictions with a confidence of at least 70 % cover 70 % of the photos, with an accuracy of 91.0 %; on all"
        " photos it is 80.0 %."
    )


def test_a_smaller_gain_is_better_than_none() -> None:
    points = (CoveragePoint(0.0, 1.0, 0.925), CoveragePoint(0.9, 0.5, 0.951))

    assert "at least 90" in coverage_sentence(make_scored(coverage=points))


def test_a_threshold_that_does_not_help_is_reported() -> None:
    never = make_scored(WRONG_20_OF_100, coverage=POINTS[:2])
    assert coverage_sentence(never).startswith("A confidence threshold does not help")
    assert coverage_sentence(make_scored(((5, 0), (0, 5)))).startswith("All photos are classified correctly")


def test_the_table_holds_round_thresholds_where_something_is_answered() -> None:
    section = coverage_section(make_run(final=make_scored(WRONG_20_OF_100, coverage=POINTS)))

    assert [point.threshold for point in section.values["rows"]] == [0.0, 0.5, 0.7, 0.9]


def test_without_points_there_is_no_curve() -> None:
    assert coverage_section(make_run(final=make_scored(coverage=()))).empty == "Nothing has been scored yet."
