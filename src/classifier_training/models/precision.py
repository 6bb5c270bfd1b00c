"""The arithmetic of a forward pass: exact float32, as a deployed file computes, or that of the training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final, Literal

import torch

TrainingPrecision = Literal["32-true", "bf16-mixed", "16-mixed"]
Precision = Literal["float32", "32-true", "bf16-mixed", "16-mixed"]
"""``float32`` is exact; the others are those of Lightning, where ``32-true`` may round on a GPU (TensorFloat-32)."""

_BACKENDS: Final[tuple[Any, ...]] = (
    torch.backends.cuda.matmul,
    torch.backends.cudnn.conv,  # type: ignore[attr-defined]  # made at import, as the next ones are
    torch.backends.cudnn.rnn,
    torch.backends.mkldnn.matmul,  # type: ignore[attr-defined]
    torch.backends.mkldnn.conv,  # type: ignore[attr-defined]
    torch.backends.mkldnn.rnn,  # type: ignore[attr-defined]
)


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Computes products of float32 in float32 within the block, whatever was set: no TensorFloat-32, no bfloat16.

    On an NVIDIA GPU cuDNN rounds the factors of convolutions to 10 bits of mantissa unless it is told not to.
    """
    before = [backend.fp32_precision for backend in _BACKENDS]
    try:
        for backend in _BACKENDS:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, value in zip(_BACKENDS, before, strict=True):
            backend.fp32_precision = value


def arithmetic(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[object]:
    """Computes as a precision says within the block."""
    if precision == "float32":
        return exact_float32()
    if precision == "32-true":
        return contextlib.nullcontext()
    # on a CPU Lightning, which validated, takes bfloat16 for both
    is_half = precision == "16-mixed" and device.type != "cpu"
    return torch.autocast(device.type, torch.float16 if is_half else torch.bfloat16)
