from __future__ import annotations

import pytest
from tests.helpers.page_data import make_run, make_scored

from classifier_training.pages.sections.calibration import calibration_section, calibration_sentence
from classifier_training.results.decision_file import AbstentionFigures, DecisionEffect, DecisionRecord, SetFigures
from classifier_training.results.scores_file import CalibrationBin, CalibrationBins, CoveragePoint


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


def test_what_the_thresholds_hold_is_shown() -> None:
    effect = DecisionEffect(
        abstention=AbstentionFigures(
            threshold=0.8, num_images=100, num_answered=80, coverage=0.8, coverage_interval=(0.7, 0.9), precision=0.95,
            precision_interval=(0.9, 0.99),
        ),
        sets=SetFigures(method="lac", threshold=0.1, num_images=100, coverage=0.94, coverage_interval=(0.9, 0.98)),
    )  # fmt: skip
    record = DecisionRecord(
        num_images=50, abstain_threshold=0.8, target_precision=0.98, set_threshold=0.1, set_coverage=0.95,
        set_interval=(0.9, 0.99), reasons=("a reason",), measured=effect,
    )  # fmt: skip
    points = (CoveragePoint(0.0, 1.0, 0.9), CoveragePoint(0.8, 0.8, 0.95))
    scored = make_scored(decision=effect, coverage=points, calibration=CalibrationBins(None, bins(0.9, 0.9)))

    values = calibration_section(make_run(final=scored, decision=record)).values["decision"]

    abstains, sets, reason = map(plain, values["sentences"])
    assert abstains.startswith("The model answers from a confidence of 0.8 on, for a precision of 98.0 % on the")
    assert "95.0 % of the answers are correct (95 % interval 90.0 % to 99.0 %)" in abstains
    assert abstains.endswith("That is below what was asked for: on the validation photos it holds, here it does not.")
    assert "to be among them in 95.0 % of the cases, which 50 validation photos allow within 90.0 % to 99.0 %" in sets
    assert reason == "A reason."
    assert "from 0.8 on" in values["risk"]
    assert [plain(row["coverage"]) for row in values["sets"]] == ["94.0 %"]


def test_without_thresholds_there_is_only_the_curve() -> None:
    scored = make_scored(calibration=CalibrationBins(None, bins(0.9, 0.9)))

    values = calibration_section(make_run(final=scored)).values["decision"]

    assert (values["sentences"], values["sets"]) == ([], [])


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
