"""Attention whose gradients are the same bits at every repetition, also on a GPU."""

from __future__ import annotations

import contextlib

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def repeatable_attention(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Where a training is to be repeatable, has attention computed by matrix products and softmax for a block.

    The fast kernels of a GPU sum gradients in whatever order they come, unless torch is told to raise an error for
    every operation that it cannot repeat; the order of a training that only warns of these (``deterministic="warn"``
    of a Trainer) is left open. Matrix products are repeatable, but keep the attention of every pair of tokens for the
    backward pass. Scoring has no backward pass, and a CPU repeats all kernels: there nothing is changed.

    Args:
        device: Where the block computes.
    """
    may_vary = torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
    if device.type != "cuda" or not may_vary or not torch.is_grad_enabled():
        return contextlib.nullcontext()
    return sdpa_kernel(SDPBackend.MATH)
