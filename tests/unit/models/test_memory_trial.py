from __future__ import annotations

import pytest
import torch
from tests.helpers.training import assert_same, make_model, snapshot

from classifier_training.models.memory_trial import try_batch


def test_it_leaves_everything_as_it_was() -> None:
    model = make_model(model={"drop_rate": 0.5}).train()
    frozen = next(model.parameters())
    frozen.requires_grad_(False)
    before, random = snapshot(model), torch.get_rng_state()

    with torch.no_grad():
        try_batch(model, 4, torch.autocast("cpu", torch.bfloat16))

    assert_same(snapshot(model), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert not frozen.requires_grad
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_all_gradients_of_a_batch_of_that_size_are_computed() -> None:
    model = make_model().train()
    sizes: list[int] = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    gradients: list[object] = []
    model.backbone.register_full_backward_pre_hook(lambda _, outputs: gradients.append(outputs))

    try_batch(model, 3)

    assert sizes == [3]
    assert len(gradients) == 1


def test_what_is_raised_leaves_everything_as_it_was_too() -> None:
    model = make_model().train()

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.backbone.register_forward_pre_hook(fail)
    with pytest.raises(torch.OutOfMemoryError):
        try_batch(model, 3)
    assert all(module.training for module in model.modules())
