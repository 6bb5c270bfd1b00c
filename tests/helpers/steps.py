"""Watches what the steps of a training ask of torch."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from lightning.pytorch.profilers import Profiler
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

WAITS: Final = {
    "_local_scalar_dense",  # item(), float(), bool()
    "lift_fresh",  # torch.tensor(number), which is copied to the device
    "nonzero", "masked_select", "_unique2", "unique_dim", "bincount", "equal",  # what they give decides a shape
}  # fmt: skip
MAX_NUMBERS: Final = 1000
"""Of a tensor that is made from numbers of Python; a larger one holds the pixels of a batch."""


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own, as below
    """Counts the operations by name; those of other packages with their package."""

    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        package, name = func.name().split("::")
        name = name.split(".")[0]
        is_masked = name in {"index", "index_put_"} and any("bool" in str(i.dtype) for i in args[1] if i is not None)
        name = "nonzero" if is_masked else name
        if name == "lift_fresh" and args[0].numel() > MAX_NUMBERS:
            name = "memory of an array"  # what a CPU normalises images in
        self.counts[name if package == "aten" else f"{package}::{name}"] += 1
        return func(*args, **kwargs or {})


class StepWatch(Profiler):
    """Counts the operations of each step of one loop: of everything between the fetches of two batches.

    Args:
        fetch: The end of Lightning's name of the fetch.

    Attributes:
        steps: The counts of each step that has ended, and of what came after it where it was the last of an epoch.
    """

    def __init__(self, fetch: str = "train_dataloader_next") -> None:
        super().__init__()
        self.fetch = fetch
        self.steps: list[Counter[str]] = []
        self._mode: Any = None

    @override
    def start(self, action_name: str) -> None:
        if action_name.endswith(self.fetch):
            self.end()

    @override
    def stop(self, action_name: str) -> None:
        if action_name.endswith(self.fetch) and self._mode is None:
            self.steps.append(Counter())
            self._mode = _Operations(self.steps[-1])
            self._mode.__enter__()

    def end(self) -> None:
        """Stops counting."""
        if self._mode is not None:
            self._mode.__exit__(None, None, None)
            self._mode = None

    def waits(self) -> list[dict[str, int]]:
        """Of each step, what a host that has a GPU would wait for."""
        return [{name: count for name, count in step.items() if name in WAITS} for step in self.steps]

    def collectives(self) -> list[dict[str, int]]:
        """Of each step, the collective operations between processes."""
        return [{name: count for name, count in step.items() if name.startswith("c10d")} for step in self.steps]
