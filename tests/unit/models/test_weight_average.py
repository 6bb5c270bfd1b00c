"""The average and its exchange with the weights, without a Trainer; the rest is tested through EMACallback."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from classifier_training.errors import ClassifierTrainingError
from classifier_training.models.weight_average import WeightAverage


def make_module() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))


def move_weights(module: nn.Module) -> None:
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn_like(weight))


def test_update_follows_a_changed_memory_format_and_dtype() -> None:
    module = make_module()
    average = WeightAverage(module)
    before = copy.deepcopy(module.state_dict())
    module.to(memory_format=torch.channels_last)
    module.double()
    average.match_weights()
    move_weights(module)
    average.update(0.25)
    state = average.averaged_state_dict()
    expected = 0.25 * before["0.weight"].double() + 0.75 * module.state_dict()["0.weight"]
    torch.testing.assert_close(state["0.weight"], expected)
    assert state["0.weight"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("swapped_in", [False, True])
def test_both_states_can_be_read_at_any_time(swapped_in: bool) -> None:
    module = make_module()
    average = WeightAverage(module)
    start = copy.deepcopy(module.state_dict())
    move_weights(module)
    moved = copy.deepcopy(module.state_dict())
    if swapped_in:
        average.swap_in()
    torch.testing.assert_close(average.averaged_state_dict(), start, rtol=0, atol=0)
    torch.testing.assert_close(average.training_state_dict(), moved, rtol=0, atol=0)
    torch.testing.assert_close(dict(module.state_dict()), start if swapped_in else moved, rtol=0, atol=0)


def test_states_share_memory_with_what_they_show() -> None:
    module = make_module()
    average = WeightAverage(module)
    pointer = next(module.parameters()).data_ptr()
    assert average.training_state_dict()["0.weight"].data_ptr() == pointer
    shown = average.averaged_state_dict()["0.weight"].data_ptr()
    assert shown != pointer
    average.swap_in()
    assert next(module.parameters()).data_ptr() == shown
    average.swap_out()
    assert next(module.parameters()).data_ptr() == pointer


def test_swap_within_inference_mode_leaves_trainable_weights() -> None:
    module = make_module()
    average = WeightAverage(module)
    with torch.inference_mode():
        average.swap_in()
        average.swap_out()
    images = torch.zeros(1, 3, 4, 4)
    gradients = torch.autograd.grad(module(images).sum(), list(module.parameters()))
    assert len(gradients) == 4


def test_shared_weight_has_one_average_and_scratch_buffer_none() -> None:
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    module[1].weight = module[0].weight
    module.register_buffer("scratch", torch.zeros(2), persistent=False)
    average = WeightAverage(module)
    assert len(average._average) == 1
    scratch = next(module.buffers()).data_ptr()
    average.swap_in()
    assert next(module.buffers()).data_ptr() == scratch
    state = average.averaged_state_dict()
    assert state["0.weight"].data_ptr() == state["1.weight"].data_ptr()


def replace_norm(module: nn.Sequential, features: int = 8) -> None:
    """What a strategy does to a module: another object of that name, with tensors of its own."""
    state = module[1].state_dict()
    module[1] = nn.SyncBatchNorm(features)
    if features == 8:
        module[1].load_state_dict(state)


def test_a_replaced_submodule_is_looked_up_again() -> None:
    module, untouched = make_module(), make_module()
    average, expected = WeightAverage(module), WeightAverage(untouched)
    replace_norm(module)
    average.match_weights()
    for one in (module, untouched):
        with torch.no_grad():
            for weight in [*one.parameters(), *(buffer for buffer in one.buffers() if buffer.is_floating_point())]:
                weight.add_(1)
    average.update(0.5)
    expected.update(0.5)
    state = average.averaged_state_dict()
    torch.testing.assert_close(state, expected.averaged_state_dict(), rtol=0, atol=0)
    assert not torch.equal(state["1.running_mean"], module.state_dict()["1.running_mean"])


def test_submodules_that_are_replaced_while_the_average_is_in_them_are_found() -> None:
    module = make_module()
    average = WeightAverage(module)
    move_weights(module)
    moved = copy.deepcopy(module.state_dict())
    average.swap_in()
    replace_norm(module)
    average.swap_out()
    torch.testing.assert_close(dict(module.state_dict()), dict(moved), rtol=0, atol=0)


def test_a_weight_that_is_gone_is_an_error_that_names_it() -> None:
    module = make_module()
    average = WeightAverage(module)
    module[1] = nn.Identity()
    with pytest.raises(ClassifierTrainingError, match=r"holds 1\.weight, which Sequential no longer has"):
        average.match_weights()
    with pytest.raises(ClassifierTrainingError, match=r"holds 1\.weight"):
        average.swap_in()


def test_a_weight_of_another_shape_is_an_error_that_names_both() -> None:
    module = make_module()
    average = WeightAverage(module)
    replace_norm(module, features=1)
    with pytest.raises(ClassifierTrainingError, match=r"1\.weight has the shape \(8,\), but the weight has \(1,\)"):
        average.match_weights()
