"""A moving average of a module's weights, and its exchange with them; plain torch."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class _Slot(NamedTuple):
    """Where a weight is found: its submodule's table and its name there, and its name in the whole module."""

    table: dict[str, Any]
    name: str
    key: str


class _Group(NamedTuple):
    """Averages that one fused call can update, and where their weights stand in the list of all."""

    averages: list[Tensor]
    indices: list[int]
    is_rounded: bool  # the weights are of a lower precision than their averages


class WeightAverage:
    """The average of the weights of one module, and the exchange of the two.

    Averaged are floating-point (and complex) parameters and persistent buffers, a tensor that several submodules
    share only once. Weights of less than 32 bits are averaged in float32. Weights are looked up at every use,
    because moving a module to a device replaces its buffers.

    Attributes:
        module: The module whose weights are averaged.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._slots = list(_averaged_slots(module))
        self._training: list[Tensor] | None = None  # the training weights' memory while the average is in place
        self._groups: list[_Group] = []
        with torch.inference_mode(False), torch.no_grad():
            self._average = [weight.detach().clone() for weight in self._weights()]
        self.match_weights()

    def _weights(self) -> list[Tensor]:
        return [table[name] for table, name, _ in self._slots]

    # Inference mode spares the many small tensors two thirds of their time; the average never meets autograd.
    @torch.inference_mode()
    def update(self, decay: float) -> None:
        """Moves the average by the share ``1 - decay`` towards the weights."""
        weights = self._weights()
        for averages, indices, is_rounded in self._groups:
            group = [weights[index] for index in indices]
            if is_rounded:
                group = [weight.to(average.dtype) for weight, average in zip(group, averages, strict=True)]
            torch._foreach_lerp_(averages, group, 1.0 - decay)

    def match_weights(self) -> None:
        """Moves the average to the weights' device and memory format, which may have changed since it was made."""
        if self._training is not None:
            return
        groups: defaultdict[tuple[torch.device, torch.dtype, torch.dtype], list[int]] = defaultdict(list)
        with torch.inference_mode(False), torch.no_grad():
            for index, (weight, average) in enumerate(zip(self._weights(), self._average, strict=True)):
                dtype = torch.float32 if weight.dtype.itemsize < torch.float32.itemsize else weight.dtype
                if (average.device, average.dtype, average.stride()) != (weight.device, dtype, weight.stride()):
                    self._average[index] = torch.empty_like(weight, dtype=dtype).copy_(average)
                groups[weight.device, dtype, weight.dtype].append(index)
        self._groups = [
            _Group([self._average[index] for index in indices], indices, dtype != weight_dtype)
            for (_, dtype, weight_dtype), indices in groups.items()
        ]

    def swap_in(self) -> None:
        """Exchanges the weights for the average; does nothing when that is done already.

        The memory of both is kept by whoever holds it, so that an interrupt in the middle of an exchange is repaired by
        ``swap_out``. Lightning evaluates in inference mode, whose tensors could not be trained on afterwards.
        """
        if self._training is not None:
            return
        self.match_weights()
        weights = self._weights()
        with torch.inference_mode(False), torch.no_grad():
            self._training = [weight.data for weight in weights]
            for weight, average in zip(weights, self._average, strict=True):
                weight.data = average if average.dtype == weight.dtype else average.to(weight.dtype)

    def swap_out(self) -> None:
        """Puts the training weights back; does nothing when that is done already."""
        if self._training is None:
            return
        with torch.inference_mode(False), torch.no_grad():
            for weight, training in zip(self._weights(), self._training, strict=True):
                weight.data = training
        self._training = None

    @contextlib.contextmanager
    def _holding(self, *, average: bool) -> Iterator[None]:
        """Has the average, or else the training weights, in the module for the time of the block."""
        was_in = self._training is not None
        (self.swap_in if average else self.swap_out)()
        try:
            yield
        finally:
            (self.swap_in if was_in else self.swap_out)()

    def averaged_state_dict(self) -> dict[str, Any]:
        """The module's ``state_dict()`` with the average in it, sharing the average's memory."""
        with self._holding(average=True):
            return self.module.state_dict()

    def training_state_dict(self) -> dict[str, Any]:
        """The module's ``state_dict()`` with the training weights in it, sharing their memory."""
        with self._holding(average=False):
            return self.module.state_dict()

    def precise_tensors(self) -> dict[str, Tensor]:
        """The averages that the module can hold only rounded, by the names of their weights."""
        tensors = zip(self._slots, self._weights(), self._average, strict=True)
        return {slot.key: average for slot, weight, average in tensors if average.dtype != weight.dtype}

    def load_precise_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Takes over what ``precise_tensors`` gave."""
        for slot, average in zip(self._slots, self._average, strict=True):
            if slot.key in tensors:
                average.copy_(tensors[slot.key])


def _averaged_slots(module: nn.Module) -> Iterator[_Slot]:
    """Every averaged parameter and persistent buffer, one that is shared between submodules only once."""
    seen: set[int] = set()
    for prefix, part in module.named_modules():
        buffers = [name for name in part._buffers if name not in part._non_persistent_buffers_set]
        for table, names in ((part._parameters, list(part._parameters)), (part._buffers, buffers)):
            for name in names:
                tensor = table[name]
                if tensor is None or id(tensor) in seen:
                    continue
                seen.add(id(tensor))
                if _is_averaged(tensor):
                    yield _Slot(table, name, f"{prefix}.{name}" if prefix else name)


def _is_averaged(tensor: Tensor) -> bool:
    if isinstance(tensor, nn.Parameter):
        return tensor.is_floating_point() or tensor.is_complex()
    # Averaging an infinity, as in an attention mask, gives NaN.
    return tensor.is_floating_point() and bool(tensor.isfinite().all())
