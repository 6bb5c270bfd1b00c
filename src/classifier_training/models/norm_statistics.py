"""Passes through a model in training that its BatchNorm layers do not count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def uncounted(backbone: nn.Module) -> Iterator[None]:
    """Normalises by the statistics of the batch as ever, and leaves the running ones and their counters alone."""
    paused = pause(backbone)
    try:
        yield
    finally:
        resume(paused)


def pause(backbone: nn.Module) -> list[tuple[Any, Any, Any]]:
    """Lets BatchNorm in training mode no longer change its running statistics; gives what `resume` needs."""
    layers = [cast("Any", layer) for layer in backbone.modules() if isinstance(layer, _BatchNorm) and layer.training]
    paused = [(layer, layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer in layers:
        layer.momentum, layer.num_batches_tracked = 0.0, None
    return paused


def resume(paused: list[tuple[Any, Any, Any]]) -> None:
    """Lets them change again."""
    for layer, momentum, num_batches in paused:
        layer.momentum, layer.num_batches_tracked = momentum, num_batches
