"""A number on a device, read without waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor


class LateNumber:
    """A number on a device, known a little later: reading it at once would wait for all work before it."""

    def __init__(self) -> None:
        self.value: float | None = None
        self._memory: Tensor | None = None
        self._copied: torch.cuda.Event | None = None

    def update(self, number: Tensor | None) -> None:
        """Takes over the number asked for before, if it has come, and then asks for this one."""
        if number is None:
            return
        if number.device.type != "cuda":
            self.value = float(number.float().numpy()) if number.device.type == "cpu" else float(number)
            return
        if self._copied is not None:
            if not self._copied.query():  # type: ignore[no-untyped-call]  # torch's own
                return
            self.value = float(self._memory)  # type: ignore[arg-type]  # there since the copy was asked for
        if self._memory is None:
            self._memory = torch.empty((), pin_memory=True)
        self._memory.copy_(number, non_blocking=True)
        self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]  # as above
        self._copied.record(torch.cuda.current_stream(number.device))
