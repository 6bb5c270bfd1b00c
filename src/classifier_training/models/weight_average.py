"""A moving average of a module's weights, and its exchange with them; plain torch."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from classifier_training.errors import ClassifierTrainingError


class _Slot(NamedTuple):
    """Where a weight is found: the name of its submodule, its name there, and whether it is one of its buffers."""

    module: str
    name: str
    is_buffer: bool

    @property
    def key(self) -> str:
        """Its name in the whole module."""
        return f"{self.module}.{self.name}" if self.module else self.name


class _Group(NamedTuple):
    """Averages that one fused call can update, and where their weights stand in the list of all."""

    averages: list[Tensor]
    indices: list[int]
    is_rounded: bool  # the weights are of a lower precision than their averages


class WeightAverage:
    """The average of the weights of one module, and the exchange of the two.

    Averaged are floating-point (and complex) parameters and persistent buffers, a tensor that several submodules
    share only once. Weights of less than 32 bits are averaged in float32. Kept are the names of the weights: moving a
    module to a device replaces its buffers, so they are looked up at every use, and a strategy that shares a model
    among devices replaces submodules, so these are looked up by `match_weights` and at every exchange.

    Attributes:
        module: The module whose weights are averaged.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._slots = list(_averaged_slots(module))
        self._tables: list[dict[str, Any]] = []  # that hold the weights, by slot
        self._training: list[Tensor] | None = None  # the training weights' memory while the average is in place
        self._groups: list[_Group] = []
        self._find_tables()
        with torch.inference_mode(False), torch.no_grad():
            self._average = [weight.detach().clone() for weight in self._weights()]
        self.match_weights()

    def _weights(self) -> list[Tensor]:
        return [table[slot.name] for table, slot in zip(self._tables, self._slots, strict=True)]

    def _find_tables(self) -> None:
        """Looks up the submodules of the weights, which may have been replaced.

        Raises:
            ClassifierTrainingError: A weight is gone.
        """
        modules, tables = dict(self.module.named_modules(remove_duplicate=False)), []
        for slot in self._slots:
            owner = modules.get(slot.module)
            table: dict[str, Any] = {} if owner is None else owner._buffers if slot.is_buffer else owner._parameters
            if table.get(slot.name) is None:
                raise ClassifierTrainingError(
                    f"the average of the weights holds {slot.key}, which {type(self.module).__name__} no longer has:"
                    f" something has changed its submodules while it was trained; do that before the training starts"
                )
            tables.append(table)
        self._tables = tables

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
        """Looks the weights up, and moves the average to their device and memory format, which may have changed.

        Raises:
            ClassifierTrainingError: A weight is gone, or has another shape than its average.
        """
        if self._training is not None:
            return
        self._find_tables()
        groups: defaultdict[tuple[torch.device, torch.dtype, torch.dtype], list[int]] = defaultdict(list)
        with torch.inference_mode(False), torch.no_grad():
            for index, (weight, average) in enumerate(zip(self._weights(), self._average, strict=True)):
                if weight.shape != average.shape:
                    raise ClassifierTrainingError(
                        f"the average of {self._slots[index].key} has the shape {tuple(average.shape)}, but the weight"
                        f" has {tuple(weight.shape)}: something has replaced it while it was trained"
                    )
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
        self._find_tables()
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
        for is_buffer, names in ((False, list(part._parameters)), (True, buffers)):
            for name in names:
                tensor = part._buffers[name] if is_buffer else part._parameters[name]
                if tensor is None or id(tensor) in seen:
                    continue
                seen.add(id(tensor))
                if _is_averaged(tensor):
                    yield _Slot(prefix, name, is_buffer)


def _is_averaged(tensor: Tensor) -> bool:
    if isinstance(tensor, nn.Parameter):
        return tensor.is_floating_point() or tensor.is_complex()
    # Averaging an infinity, as in an attention mask, gives NaN.
    return tensor.is_floating_point() and bool(tensor.isfinite().all())
