"""The device to compute on."""

from __future__ import annotations

import torch

from classifier_training.errors import ConfigError


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
