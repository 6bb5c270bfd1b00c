"""Which kernels attention takes; a GPU is made up, because torch decides by the flags that are read here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
import torch
from tests.helpers.training import make_model
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from classifier_training.models.attention import repeatable_attention

GPU, CPU = torch.device("cuda"), torch.device("cpu")
ALL = {"flash": True, "efficient": True, "cudnn": True, "math": True}
ONLY_MATH = {"flash": False, "efficient": False, "cudnn": False, "math": True}


@pytest.fixture(autouse=True)
def _no_lasting_determinism() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def kernels() -> dict[str, bool]:
    cuda: Any = torch.backends.cuda
    return {
        "flash": cuda.flash_sdp_enabled(),
        "efficient": cuda.mem_efficient_sdp_enabled(),
        "cudnn": cuda.cudnn_sdp_enabled(),
        "math": cuda.math_sdp_enabled(),
    }


@pytest.mark.parametrize(
    ("device", "deterministic", "warn_only", "with_gradients", "expected"),
    [
        (GPU, True, True, True, ONLY_MATH),
        (GPU, True, True, False, ALL),
        (GPU, True, False, True, ALL),  # then torch itself takes repeatable kernels
        (GPU, False, False, True, ALL),
        (CPU, True, True, True, ALL),
    ],
)
def test_kernels_are_limited_only_where_gradients_would_vary(
    device: torch.device, deterministic: bool, warn_only: bool, with_gradients: bool, expected: dict[str, bool]
) -> None:
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    with torch.set_grad_enabled(with_gradients), repeatable_attention(device):
        assert kernels() == expected
    assert kernels() == ALL


def test_the_kernel_is_another_one_and_the_gradients_are_the_same() -> None:
    """On a CPU, whose fast kernel obeys the same flags."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    tokens = torch.randn(3, 2, 4, 9, 8, generator=torch.Generator().manual_seed(0))
    gradients: list[Tensor] = []
    fast: list[bool] = []
    for device in (CPU, GPU):
        inputs = tokens.clone().requires_grad_()
        with repeatable_attention(device):
            outputs = nn.functional.scaled_dot_product_attention(*inputs)
        fast.append("FlashAttention" in type(outputs.grad_fn).__name__)
        gradients += torch.autograd.grad(outputs.square().sum(), inputs)
    assert fast == [True, False]
    torch.testing.assert_close(*gradients)


@pytest.mark.filterwarnings("ignore:.*deterministic")
def test_every_attention_of_a_training_step_is_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    original, seen = nn.functional.scaled_dot_product_attention, []

    def attend(*arguments: Any, **options: Any) -> Tensor:
        seen.append(kernels())
        return original(*arguments, **options)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", attend)
    monkeypatch.setattr(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    model = make_model("test_vit")
    seen.clear()
    num_layers = len(cast("Any", model.backbone).blocks)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.backbone.to("cuda")
        images = torch.zeros(2, 3, 32, 32, device="cuda")
        model(images)
        assert seen == [ONLY_MATH] * num_layers
        seen.clear()
        with torch.inference_mode():
            model(images)
        assert seen == [ALL] * num_layers
