from __future__ import annotations

from typing import Any

import pytest
import torch

from classifier_training.models.finite import first_not_finite

NAN, INF = torch.tensor([1.0, torch.nan]), torch.tensor([torch.inf, 1.0])


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, None),
        ({"weight": torch.ones(2), "steps": torch.tensor(3), "empty": torch.zeros(0), "text": "nan"}, None),
        ({"weight": torch.ones(2), "bias": NAN}, "bias"),
        ({"weight": -INF}, "weight"),
        ({"weight": torch.ones(2, dtype=torch.bfloat16) * torch.inf}, "weight"),
        ({"attention.mask": INF}, None),
        ({"attention.mask": NAN}, "attention.mask"),
        ({"optimizer_states": [{"state": {0: {"exp_avg": torch.ones(1)}, 1: {"exp_avg": NAN}}}]},
         "optimizer_states.0.state.1.exp_avg"),
    ],
)  # fmt: skip
def test_the_first_tensor_that_is_not_finite_is_named(state: dict[str, Any], expected: str | None) -> None:
    assert first_not_finite(state) == expected
