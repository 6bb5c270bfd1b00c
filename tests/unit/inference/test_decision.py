from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from classifier_training.errors import CheckpointError
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.decision import Decision
from classifier_training.types import Preprocessing

WHOLE = Decision(
    num_images=120,
    abstain_threshold=0.75,
    target_precision=0.98,
    set_threshold=0.125,
    set_coverage=0.95,
    set_interval=(0.9, 0.98),
    measured={"split": "test", "abstention": {"coverage": 0.9}},
)
PROBABILITIES = np.array([[0.8, 0.15, 0.05], [0.75, 0.125, 0.125], [0.5, 0.4, 0.1]])


def test_what_is_decided() -> None:
    abstain, sets = WHOLE.decide(PROBABILITIES)

    assert abstain.tolist() == [False, False, True]
    assert sets is not None
    assert sets.tolist() == [[True, True, False], [True, True, True], [True, True, False]]


def test_without_thresholds_everything_is_answered_and_there_are_no_sets() -> None:
    abstain, sets = Decision(num_images=20).decide(PROBABILITIES)

    assert not abstain.any()
    assert sets is None


def test_float64_and_float32_decide_alike() -> None:
    threshold = float(np.float32(0.7))
    decision = Decision(num_images=20, abstain_threshold=threshold, set_threshold=threshold)
    just_below = np.array([[threshold - 1e-12, 0.0]])  # which float32 does not tell from the threshold

    for probabilities in (just_below, just_below.astype(np.float32)):
        abstain, sets = decision.decide(probabilities)
        assert not abstain.any()
        assert sets is not None
        assert sets.tolist() == [[True, False]]


@pytest.mark.parametrize("decision", [WHOLE, Decision(num_images=20, target_coverage=0.9, abstain_threshold=0.0)])
def test_a_decision_is_read_as_it_was_written(decision: Decision) -> None:
    card = DeploymentCard(("a", "b"), Preprocessing(), decision=decision)

    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision
    assert DeploymentCard.from_metadata(card.to_metadata(), "model.onnx") == card


def test_what_a_later_version_adds_is_ignored() -> None:
    assert Decision.from_dict({**WHOLE.to_dict(), "colour": "blue"}) == WHOLE


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "it is not an object"),
        ({}, "its num_images is None"),
        ({"num_images": True}, "its num_images is True"),
        ({"num_images": 20, "abstain_threshold": 1.5}, "its abstain_threshold is 1.5"),
        ({"num_images": 20, "abstain_threshold": "high"}, "its abstain_threshold is 'high'"),
        ({"num_images": 20, "set_threshold": float("nan")}, "its set_threshold is nan"),
        ({"num_images": 20, "set_interval": [0.9, 0.8]}, r"its set_interval is \[0.9, 0.8\]"),
        ({"num_images": 20, "measured": 3}, "its measured is 3"),
    ],
)
def test_an_impossible_decision_is_refused_in_one_line(values: Any, message: str) -> None:
    metadata = {**DeploymentCard(("a",), Preprocessing()).to_metadata(), "decision": json.dumps(values)}

    with pytest.raises(CheckpointError, match=rf"^m\.onnx: decision in the metadata is not possible: {message}$"):
        DeploymentCard.from_metadata(metadata, "m.onnx")
