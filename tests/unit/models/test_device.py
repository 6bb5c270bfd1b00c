"""What follows from the devices of a machine."""

from __future__ import annotations

import pytest
import torch

from classifier_training.models.device import auto_precision, choose_precision


@pytest.mark.parametrize(
    ("machine", "accelerator", "capabilities", "expected"),
    [
        ("V100", "cuda", [(7, 0)], "16-mixed"),
        ("T4", "cuda", [(7, 5)], "16-mixed"),
        ("RTX 2080", "cuda", [(7, 5)], "16-mixed"),
        ("A100", "cuda", [(8, 0)], "bf16-mixed"),
        ("RTX 3090", "cuda", [(8, 6)], "bf16-mixed"),
        ("H100", "cuda", [(9, 0)], "bf16-mixed"),
        ("B200", "cuda", [(10, 0)], "bf16-mixed"),
        ("an A100 beside a T4", "cuda", [(8, 0), (7, 5)], "16-mixed"),
        ("Apple", "mps", [], "32-true"),
        ("no GPU", "cpu", [], "32-true"),
    ],
)
def test_half_precision_is_chosen_where_the_hardware_has_it(
    machine: str, accelerator: str, capabilities: list[tuple[int, int]], expected: str
) -> None:
    assert choose_precision(accelerator, capabilities) == expected, machine


@pytest.mark.parametrize(("emulates", "expected"), [(True, "16-mixed"), (False, "bf16-mixed")])
def test_torch_is_believed_where_it_says_more(emulates: bool, expected: str) -> None:
    assert choose_precision("cuda", emulates_bfloat16=emulates) == expected
    assert choose_precision("cuda", [(8, 0)], emulates_bfloat16=emulates) == expected


def test_emulated_bfloat16_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch answers on a T4: only what is asked without emulation is the truth."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert auto_precision("cuda") == "16-mixed"


def test_a_machine_without_a_gpu_computes_in_float32() -> None:
    assert (auto_precision("cpu"), auto_precision("mps")) == ("32-true", "32-true")
