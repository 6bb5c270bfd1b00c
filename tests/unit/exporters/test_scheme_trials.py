"""Which of the ways of quantising is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from classifier_training.exporters.forms import ExportSettings
from classifier_training.exporters.quantization import SCHEMES
from classifier_training.exporters.scheme_trials import Trial, choose, shortest_seconds, worth_repairing

SETTINGS = ExportSettings(min_speedup=1.1)
LOST = {"passed": False, "points_lost": 2.5, "reason": "its accuracy is 2.50 points lower"}


def make_trial(number: int, speed: float, **figures: Any) -> Trial:
    return Trial(SCHEMES[number], Path("file"), figures={"passed": True, **figures}, speed={1: speed, 8: speed})


def test_the_fastest_accurate_one_is_taken() -> None:
    trials = [make_trial(0, 1.2), make_trial(2, 1.6), make_trial(3, 2.0, **LOST)]

    assert choose(trials, SETTINGS) == (trials[1], "")
    assert [trial.verdict for trial in trials] == ["not clearly faster", "taken", "loses too much"]
    assert worth_repairing(trials, SETTINGS) == SCHEMES[3]


def test_of_equally_fast_ones_the_first_is_taken() -> None:
    trials = [make_trial(0, 1.58), make_trial(2, 1.6)]
    assert choose(trials, SETTINGS) == (trials[0], "")


def test_the_speed_is_the_mean_over_the_batch_sizes() -> None:
    assert Trial(SCHEMES[0], Path("file"), speed={1: 1.0, 8: 4.0}).speedup == pytest.approx(2.0)
    assert Trial(SCHEMES[0], Path("file")).speedup == 0


def test_not_worth_it_is_an_answer() -> None:
    trials = [make_trial(0, 0.73), make_trial(3, 0.5)]

    chosen, reason = choose(trials, SETTINGS)

    assert chosen is None
    assert reason == (
        "int8 is not worth it on this CPU: the fastest accurate way, u8s8, 7-bit weights, is 0.73 times as fast as"
        " float32, less than export.min_speedup=1.1; use model.onnx, or set export.min_speedup=0 for the sake of the"
        " size"
    )
    assert {trial.verdict for trial in trials} == {"too slow"}
    assert choose(trials, ExportSettings(min_speedup=0)) == (trials[0], "")


def test_none_is_accurate() -> None:
    trials = [make_trial(0, 1.5, **LOST | {"points_lost": 9.0}), make_trial(2, 1.6, **LOST)]

    chosen, reason = choose(trials, SETTINGS)

    assert chosen is None
    assert reason == (
        "no int8 file is accurate enough; the closest, u8s8: its accuracy is 2.50 points lower; use model.onnx"
    )
    assert worth_repairing(trials, SETTINGS) == SCHEMES[2]
    assert worth_repairing(trials, ExportSettings(min_speedup=1.7)) is None


def test_none_runs() -> None:
    trials = [Trial(SCHEMES[0], Path("file"), error="no kernel")]

    assert choose(trials, SETTINGS) == (None, "onnxruntime runs no int8 file of this model: no kernel")
    assert trials[0].to_json() == {
        "scheme": "u8s8, 7-bit weights",
        "float_layers": [],
        "error": "no kernel",
        "verdict": "does not run",
    }
    assert worth_repairing(trials, SETTINGS) is None


def test_all_functions_are_timed_in_turns() -> None:
    calls: list[str] = []
    seconds = shortest_seconds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")})

    assert seconds.keys() == {"a", "b"}
    assert all(0 <= value < 1 for value in seconds.values())
    assert calls[:8] == ["a", "a", "b", "b"] * 2
