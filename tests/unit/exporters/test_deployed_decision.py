from __future__ import annotations

from dataclasses import replace

import pytest

from classifier_training.exporters.deployed_decision import card_of_form
from classifier_training.exporters.forms import FORMS
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.decision import Decision
from classifier_training.inference.unknown import UnknownCard
from classifier_training.types import Preprocessing

DECISION = Decision(num_images=100, abstain_threshold=0.8, target_coverage=0.9, measured={"split": "test"})
CARD = DeploymentCard(
    ("a", "b"),
    Preprocessing(image_size=32),
    temperature=0.5,
    decision=DECISION,
    validation={"predicted": {"a": 1, "b": 2}},
    unknown=UnknownCard(kind="energy", threshold=0.5, known_share=0.95, num_images=100),
)


@pytest.mark.parametrize("form", FORMS)
def test_what_holds_in_float32_is_not_said_of_a_form_that_computes_otherwise(form: str) -> None:
    expected = CARD
    if form in {"fp16", "int8"}:
        expected = replace(CARD, decision=replace(DECISION, measured=None))
    if form == "int8":
        expected = replace(expected, unknown=None, validation=None)

    assert card_of_form(CARD, form) == expected
    assert card_of_form(replace(CARD, decision=None), form).decision is None
