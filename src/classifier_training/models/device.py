"""The device to compute on, the arithmetic that suits it, and its random numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch

from classifier_training.errors import ConfigError

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


def resolve_accelerator(name: str) -> str:
    """The device kind behind a name: ``auto`` takes the fastest there is.

    Raises:
        ConfigError: The device is not available.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    kinds = [kind for kind in ("cuda", "mps") if available[kind]] if name == "gpu" else [name]
    if not kinds or not available[kinds[0]]:
        there = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise ConfigError(f"trainer.accelerator={name}: this machine has no such device; available: {there}")
    return kinds[0]


def auto_precision(accelerator: str) -> Precision:
    """What ``trainer.precision=auto`` means on this machine."""
    if accelerator != "cuda":
        return choose_precision(accelerator)
    devices = range(torch.cuda.device_count())
    capabilities = () if torch.version.hip else [torch.cuda.get_device_capability(device) for device in devices]
    emulates = not torch.cuda.is_bf16_supported(including_emulation=False)
    return choose_precision(accelerator, capabilities, emulates_bfloat16=emulates)


def choose_precision(
    accelerator: str, capabilities: Iterable[tuple[int, int]] = (), *, emulates_bfloat16: bool = False
) -> Precision:
    """The precision that a device is fast in; mixed on GPUs of CUDA and ROCm only.

    Args:
        accelerator: ``cpu``, ``cuda`` or ``mps``.
        capabilities: Of all CUDA devices, such as (7, 5) of a T4 or an RTX 20; below (8, 0) they emulate bfloat16, at
            the speed of float32 or less. Empty: as torch says.
        emulates_bfloat16: Whether torch says so of the first device.
    """
    if accelerator != "cuda":
        return "32-true"
    is_emulated = emulates_bfloat16 or any(capability < (8, 0) for capability in capabilities)
    return "16-mixed" if is_emulated else "bf16-mixed"


def seed_device(device: torch.device, seed: int) -> None:
    """Seeds the generators of a model's device; `torch.manual_seed` takes a millisecond, for devices not in use."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
