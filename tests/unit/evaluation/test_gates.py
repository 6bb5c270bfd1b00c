"""That gates decide the exit code is tested in `tests/integration/test_gates.py`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.evaluations import make_evaluation, write_other

from classifier_training.errors import ConfigError, GateError, RunError
from classifier_training.evaluation.gates import (
    Minimum,
    NotWorseThan,
    check_gates,
    check_minimum,
    check_not_worse,
    parse_gates,
    require_passed,
)
from classifier_training.metrics.scores import Predictions
from classifier_training.results.decision_effect import decision_effect


class TestMinimum:
    @pytest.mark.parametrize("score", ["top1", "top5", "balanced_accuracy", "macro_f1"])
    def test_a_score_that_is_reached_exactly_passes(self, score: str) -> None:
        evaluation = make_evaluation([True] * 7 + [False] * 3)
        measured = getattr(evaluation.scores, score)

        passed = check_minimum(evaluation, Minimum(score, measured))

        assert passed.passed
        assert f"reaches the required {measured!r} (95 % interval " in passed.message
        assert passed.figures["measured"] == passed.figures["required"] == measured
        assert passed.figures["interval"] == evaluation.intervals.to_dict()[score]
        if measured < 1:
            above = float(np.nextafter(measured, 1))
            failed = check_minimum(evaluation, Minimum(score, above))
            assert not failed.passed
            assert f" is below the required {above!r}" in failed.message

    def test_the_message_shows_on_which_side_a_score_is(self) -> None:
        evaluation = make_evaluation([True] * 2 + [False])

        below, above = (check_minimum(evaluation, Minimum("top1", value)) for value in (0.6667, 0.66666))

        assert below.message.startswith("top1 0.6666666666666666 is below the required 0.6667 (")
        assert above.message.startswith("top1 0.6667 reaches the required 0.66666 (")

    def test_the_message_has_the_interval(self) -> None:
        result = check_minimum(make_evaluation([True] * 9 + [False]), Minimum.parse("top1=0.95"))

        assert result.to_dict()["passed"] is False
        assert result.message == "top1 0.9000 is below the required 0.95 (95 % interval 0.5958 to 0.9821)"

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("top1", "--min top1: write a score and a value, such as top1=0.9"),
            ("top2=0.5", "--min top2=0.5: unknown score; allowed: top1, top5, balanced_accuracy, macro_f1"),
            ("top1=high", "--min top1=high: 'high' is not a number; a score is a number from 0 to 1"),
            ("top1=", "--min top1=: '' is not a number"),
            ("top1=90", "--min top1=90: a score is a number from 0 to 1"),
            ("top1=-0.1", "--min top1=-0.1: a score is"),
            ("top1=nan", "--min top1=nan: a score is"),
        ],
    )
    def test_a_mistake_is_one_line(self, word: str, message: str) -> None:
        with pytest.raises(ConfigError) as raised:
            Minimum.parse(word)
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)


class TestNotWorseThan:
    def test_only_a_model_that_is_verified_better_fails(self, tmp_path: Path) -> None:
        evaluation = make_evaluation([True] * 10 + [False] * 10)
        five_more = write_other(tmp_path / "five", evaluation.images, [True] * 15 + [False] * 5)
        six_more = write_other(tmp_path / "six", evaluation.images, [True] * 16 + [False] * 4)
        worse = write_other(tmp_path / "worse", evaluation.images, [False] * 20)

        results = [check_not_worse(evaluation, NotWorseThan(other)) for other in (five_more, six_more, worse)]

        # 2 · 0.5^5 = 0.0625 and 2 · 0.5^6 = 0.03125
        assert [result.passed for result in results] == [True, False, True]
        assert results[0].figures["p_value"] == pytest.approx(0.0625)
        assert results[1].message == (
            f"{six_more} is better: of 20 photos, paired by file, only it is correct on 6 and only this model on 0;"
            " p = 0.0312, significance 0.05"
        )
        assert "is not significantly better" in results[2].message
        assert check_not_worse(evaluation, NotWorseThan(five_more, 0.07)).passed is False
        assert check_not_worse(evaluation, NotWorseThan(six_more, 0.03)).passed is True

    @pytest.mark.parametrize("significance", [0.0, 1.0, -1.0, float("nan")])
    def test_the_significance_is_a_share(self, significance: float) -> None:
        with pytest.raises(ConfigError, match=r"--significance .*: must be a number between 0 and 1"):
            NotWorseThan(Path("run"), significance)


def test_all_faults_in_what_is_typed_are_found_before_anything_is_scored(tmp_path: Path) -> None:
    assert parse_gates(["top1=0.5", "macro_f1=0.25"], None, 0.05) == [Minimum("top1", 0.5), Minimum("macro_f1", 0.25)]
    with pytest.raises(RunError, match="cannot be compared with; name a run folder"):
        parse_gates([], tmp_path / "missing", 0.05)


def test_each_failed_gate_has_a_line() -> None:
    evaluation = make_evaluation([True, False])
    gates = [Minimum("top1", 0.9), Minimum("top1", 0.5), Minimum("macro_f1", 1.0)]

    results = check_gates(evaluation, gates)

    assert [result.passed for result in results] == [False, True, False]
    with pytest.raises(GateError) as raised:
        require_passed(results)
    assert raised.value.exit_code == 1
    lines = str(raised.value).splitlines()
    assert [line.split()[:3] for line in lines] == [["gate", "failed:", "top1"], ["gate", "failed:", "macro_f1"]]
    require_passed([results[1]])


@pytest.mark.parametrize(("score", "expected"), [("coverage", 0.8), ("precision", 0.75), ("set_coverage", 0.6)])
def test_what_thresholds_hold_can_be_required(score: str, expected: float) -> None:
    predictions = Predictions(
        labels=np.array([0, 0, 0, 0, 0]),
        predicted=np.array([0, 0, 0, 1, 1]),
        confidence=np.array([0.9, 0.9, 0.8, 0.8, 0.4], np.float32),
        losses=-np.log(np.array([0.9, 0.9, 0.8, 0.2, 0.1], np.float32)),
    )
    evaluation = replace(make_evaluation([True, False]), decision=decision_effect(predictions, 0.5, 0.5))

    passed, failed = (check_minimum(evaluation, Minimum(score, value)) for value in (expected, expected + 0.01))

    assert passed.passed
    assert not failed.passed
    assert passed.figures["measured"] == expected
    assert passed.message.startswith(f"{score} {expected:.4f} reaches the required {expected} (95 % interval ")


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("coverage", "--min coverage=0.5: the model never abstains; give --target-precision or --target-coverage"),
        (
            "set_coverage",
            "--min set_coverage=0.5: the model has no prediction sets; train it with ",
        ),
    ],
)
def test_a_threshold_that_a_model_does_not_have_cannot_be_required(score: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_minimum(make_evaluation([True, False]), Minimum(score, 0.5))


def test_a_minimum_names_the_test_time_augmentation() -> None:
    evaluation = replace(make_evaluation([True] * 9 + [False]), tta="flip")

    message = check_minimum(evaluation, Minimum("top1", 0.5)).message

    assert message.endswith("to 0.9821), with test-time augmentation flip")
