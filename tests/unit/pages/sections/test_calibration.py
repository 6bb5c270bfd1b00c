from __future__ import annotations

import pytest
from tests.helpers.page_data import make_run, make_scored

from classifier_training.pages.sections.calibration import calibration_section, calibration_sentence
from classifier_training.results.scores_file import CalibrationBin, CalibrationBins


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def bins(confidence: float, accuracy: float) -> tuple[CalibrationBin, ...]:
    return (CalibrationBin(0.0, 0.5, 0, None, None), CalibrationBin(0.5, 1.0, 100, confidence, accuracy))


@pytest.mark.parametrize(
    ("confidence", "accuracy", "sentence"),
    [
        (
            0.95,
            0.80,
            "The mean confidence is 95 % and the accuracy 80 %: the model is over-confident by 15 percentage points.",
        ),
        (0.78, 0.88, "the model is under-confident by 10 percentage points."),
        (0.90, 0.91, "on average, the confidence is accurate."),
    ],
)
def test_the_sentence_compares_confidence_and_accuracy(confidence: float, accuracy: float, sentence: str) -> None:
    scored = make_scored(calibration=CalibrationBins(None, bins(confidence, accuracy)))

    assert plain(calibration_sentence(scored)).endswith(sentence)


def test_the_expected_calibration_error_is_in_the_sentence() -> None:
    scored = make_scored(calibration=CalibrationBins(0.043, bins(0.9, 0.9)))

    assert "The expected calibration error is 4.3 percentage points." in calibration_sentence(scored)


def test_bins_are_weighted_by_their_images() -> None:
    parts = (CalibrationBin(0.0, 0.5, 1, 0.4, 0.0), CalibrationBin(0.5, 1.0, 3, 0.8, 1.0))

    assert plain(calibration_sentence(make_scored(calibration=CalibrationBins(None, parts)))).startswith(
        "The mean confidence is 70 % and the accuracy 75 %"
    )


def test_empty_bins_are_not_in_the_table() -> None:
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
