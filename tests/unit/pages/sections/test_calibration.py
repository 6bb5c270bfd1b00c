from __future__ import annotations

import pytest
from tests.helpers.page_data import make_run, make_scored

from classifier_training.pages.sections.calibration import (
    calibration_section,
    calibration_sentence,
    coverage_section,
    coverage_sentence,
)
from classifier_training.results.scores_file import CalibrationBin, CalibrationBins, CoveragePoint


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def bins(confidence: float, accuracy: float) -> tuple[CalibrationBin, ...]:
    return (CalibrationBin(0.0, 0.5, 0, None, None), CalibrationBin(0.5, 1.0, 100, confidence, accuracy))


@pytest.mark.parametrize(
    ("confidence", "accuracy", "words"),
    [
        (
            0.95,
            0.80,
            "On average it is 95 % sure and right 80 % of the time: it is over-confident by 15 percentage points.",
        ),
        (0.78, 0.88, "it is under-confident by 10 percentage points, safer than it says."),
        (0.90, 0.91, "its confidence can be taken at its word."),
    ],
)
def test_it_is_said_how_far_confidence_and_accuracy_are_apart(confidence: float, accuracy: float, words: str) -> None:
    scored = make_scored(calibration=CalibrationBins(None, bins(confidence, accuracy)))

    assert plain(calibration_sentence(scored)).endswith(words)


def test_the_expected_calibration_error_is_said() -> None:
    scored = make_scored(calibration=CalibrationBins(0.043, bins(0.9, 0.9)))

    assert "off by 4.3 percentage points on average (expected calibration error)" in calibration_sentence(scored)


def test_bins_count_by_their_pictures() -> None:
    parts = (CalibrationBin(0.0, 0.5, 1, 0.4, 0.0), CalibrationBin(0.5, 1.0, 3, 0.8, 1.0))

    assert plain(calibration_sentence(make_scored(calibration=CalibrationBins(None, parts)))).startswith(
        "On average it is 70 % sure and right 75 % of the time"
    )


def test_empty_bins_are_in_no_table() -> None:
    section = calibration_section(make_run(final=make_scored(calibration=CalibrationBins(None, bins(0.9, 0.8)))))

    assert section.values["bins"] == [bins(0.9, 0.8)[1]]
    assert section.values["num_bins"] == 2
    assert section.lead in section.values["diagram"]


@pytest.mark.parametrize(
    "scored",
    [
        None,
        make_scored(calibration=CalibrationBins()),
        make_scored(calibration=CalibrationBins(None, bins(0.0, 0.0)[:1])),
    ],
)
def test_without_bins_there_is_no_diagram(scored: object) -> None:
    assert calibration_section(make_run(final=scored)).empty == "Nothing has been scored yet."


POINTS = (
    CoveragePoint(0.0, 1.0, 0.80),
    CoveragePoint(0.5, 0.9, 0.85),
    CoveragePoint(0.7, 0.7, 0.91),
    CoveragePoint(0.9, 0.4, 0.96),
    CoveragePoint(1.0, 0.0, None),
)
WRONG_20_OF_100 = ((40, 10), (10, 40))


def test_the_lowest_threshold_that_halves_the_errors_is_told() -> None:
    assert plain(coverage_sentence(make_scored(WRONG_20_OF_100, coverage=POINTS))) == (
        "If it answers only when at least 70 % sure, it answers 70 % of the photos and is right for 91.0 % of them;"
        " answering all of them, for 80.0 %."
    )


def test_a_smaller_gain_is_better_than_none() -> None:
    points = (CoveragePoint(0.0, 1.0, 0.925), CoveragePoint(0.9, 0.5, 0.951))

    assert "at least 90" in coverage_sentence(make_scored(coverage=points))


def test_where_nothing_is_gained_it_is_said() -> None:
    never = make_scored(WRONG_20_OF_100, coverage=POINTS[:2])
    assert coverage_sentence(never).startswith("Leaving out what it is unsure of does not help")
    assert coverage_sentence(make_scored(((5, 0), (0, 5)))).startswith("It was right for all photos")


def test_the_table_holds_round_thresholds_where_something_is_answered() -> None:
    section = coverage_section(make_run(final=make_scored(WRONG_20_OF_100, coverage=POINTS)))

    assert [point.threshold for point in section.values["rows"]] == [0.0, 0.5, 0.7, 0.9]


def test_without_points_there_is_no_curve() -> None:
    assert coverage_section(make_run(final=make_scored(coverage=()))).empty == "Nothing has been scored yet."
