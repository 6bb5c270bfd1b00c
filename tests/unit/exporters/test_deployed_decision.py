from __future__ import annotations

from dataclasses import replace

import pytest

from classifier_training.exporters.deployed_decision import decision_of_form
from classifier_training.exporters.forms import FORMS
from classifier_training.inference.decision import Decision

DECISION = Decision(num_images=100, abstain_threshold=0.8, target_coverage=0.9, measured={"split": "test"})


@pytest.mark.parametrize("form", FORMS)
def test_what_was_measured_in_float32_is_not_said_of_a_form_that_computes_otherwise(form: str) -> None:
    is_exact = form not in {"fp16", "int8"}

    found = decision_of_form(DECISION, form)

    assert found == (DECISION if is_exact else replace(DECISION, measured=None))
    assert decision_of_form(None, form) is None
