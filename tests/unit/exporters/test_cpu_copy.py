from __future__ import annotations

import threading
from typing import cast

import lightning
import pytest
import torch
from tests.helpers.torch_models import make_batch, make_network
from torch import Tensor, nn

from classifier_training.errors import ExportError
from classifier_training.exporters.cpu_copy import cpu_copy


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network: nn.Module = make_network()

    def forward(self, images: Tensor) -> Tensor:
        return cast("Tensor", self.network(images))


def zeros_like(module: nn.Module) -> dict[str, Tensor]:
    return {key: torch.zeros_like(value) for key, value in module.state_dict().items()}


def assert_is_independent(original: nn.Module, copied: nn.Module) -> None:
    """The copy holds zeros, so a call that still runs the original is noticed."""
    with torch.no_grad():
        assert (copied(make_batch(2)) == 0).all()
        assert (original(make_batch(2)) != 0).any()
    assert not any(type(module).__name__ == "OptimizedModule" for module in copied.modules())


def test_the_copy_is_equal_and_the_original_stays_as_it_was() -> None:
    module = Module().train()
    before = {key: value.clone() for key, value in module.state_dict().items()}

    copied = cpu_copy(module)

    with torch.no_grad():
        torch.testing.assert_close(copied(make_batch()), make_network()(make_batch()), rtol=0, atol=0)
    assert not copied.training
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert_is_independent(module.eval(), cpu_copy(module, zeros_like(module)))
    for key, value in module.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def test_half_precision_becomes_float32() -> None:
    copied = cpu_copy(make_network().to(torch.bfloat16))

    assert {value.dtype for value in copied.parameters()} == {torch.float32}


def test_tied_weights_stay_tied() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight

    copied = cpu_copy(nn.Sequential(first, second))

    assert copied.get_parameter("0.weight") is copied.get_parameter("1.weight")


# The "eager" backend compiles with Dynamo but needs no compiler on the machine.
def test_a_backbone_compiled_in_place() -> None:
    module = Module().eval()
    module.network.compile(backend="eager")

    assert_is_independent(module, cpu_copy(module, zeros_like(module)))


def test_a_backbone_wrapped_by_the_compiler() -> None:
    module = Module().eval()
    module.network = cast("nn.Module", torch.compile(module.network, backend="eager"))

    assert_is_independent(module, cpu_copy(module, zeros_like(module)))


def test_a_module_compiled_in_place() -> None:
    module = Module().eval()
    module.compile(backend="eager")
    module(make_batch(2))

    assert_is_independent(module, cpu_copy(module, zeros_like(module)))


def test_a_module_wrapped_by_the_compiler() -> None:
    module = make_network()
    wrapped = cast("nn.Module", torch.compile(module, backend="eager"))

    assert_is_independent(wrapped, cpu_copy(wrapped, zeros_like(wrapped)))


def test_a_module_compiled_for_lightning() -> None:
    from lightning.pytorch.utilities.compile import from_compiled

    module = from_compiled(torch.compile(Module().eval(), backend="eager"))  # type: ignore[arg-type]  # torch types it as a function

    assert_is_independent(module, cpu_copy(module, zeros_like(module)))


def test_weights_that_do_not_fit() -> None:
    with pytest.raises(RuntimeError, match="Missing key"):
        cpu_copy(make_network(), {})


def test_a_module_that_cannot_be_copied_is_one_clear_line() -> None:
    module = Module()
    object.__setattr__(module, "lock", threading.Lock())

    with pytest.raises(ExportError, match=r"^Module cannot be copied for the export: TypeError: [^\n]*lock[^\n]*$"):
        cpu_copy(module)
