"""Requests to stop: Ctrl-C, and the signals that a scheduler sends some time before it kills."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, Final, Self

from classifier_training.errors import TrainingStopped
from classifier_training.run.processes import is_main_process

SCHEDULER_SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGUSR1")
    if hasattr(signal, name)  # Windows has no SIGUSR1
)


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the program as Ctrl-C does, so that nothing half-written is left; exit code 143, as of shells.

    Only in the main thread, where Python allows handlers, and where nobody else handles the signal.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class StopRequests:
    """Takes the signals that ask to stop, and ends the training where that leaves everything whole.

    Between `__enter__` and `__exit__` SIGTERM and SIGUSR1 raise `TrainingStopped` at once, and Ctrl-C, where nobody
    else handles it, `KeyboardInterrupt`: that is for the time before and after the optimizer steps, when every file
    on disk is whole. Python drops an exception that is raised in a destructor, so `raise_if_received` raises it again.
    Between `postpone` and `end_postponement` they, and Ctrl-C, are only noted, for a loop that checks `received`
    after every step. One request ends one training: further signals of a scheduler change nothing, a second Ctrl-C is
    Python's own.

    Signals are left alone in any other thread than the main one, where Python allows no handlers.

    Attributes:
        received: The first request; None: none.
        are_agreed: Whether all processes of the training stop for it.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.are_agreed = False
        self._is_postponed = False
        self._outer: dict[int, Any] = {}
        self._inner: dict[int, Any] = {}

    def __enter__(self) -> Self:
        is_free = signal.getsignal(signal.SIGINT) == signal.default_int_handler
        self._outer = self._take([*SCHEDULER_SIGNALS, *([signal.SIGINT] if is_free else [])])
        return self

    def __exit__(self, *error: object) -> None:
        self._give_back(self._outer)

    def raise_if_received(self) -> None:
        """Ends the training if that was requested and has had no effect.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
            TrainingStopped: One of the other signals came.
        """
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is not None:
            raise TrainingStopped(self.received.name)

    def postpone(self) -> None:
        """From now on a request is only noted."""
        if not self._outer:  # on its own a request is one of this training
            self.received = None
        self._is_postponed = True
        # a handler of SIGUSR1 that is not ours, such as Lightning's that requeues a job under SLURM, stays
        free = (signal.SIG_DFL, signal.SIG_IGN, self._note)
        taken = [one for one in SCHEDULER_SIGNALS if one == signal.SIGTERM or signal.getsignal(one) in free]
        self._inner = self._take([signal.SIGINT, *taken])

    def end_postponement(self) -> None:
        """Gives the signals back to whom they belonged before `postpone`."""
        self._give_back(self._inner)
        self._is_postponed = False

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's signature
        if number == signal.SIGINT:
            before = self._inner.get(number, self._note)  # the next Ctrl-C is Python's own: at once
            signal.signal(signal.SIGINT, signal.default_int_handler if before == self._note else before)
        if self.received is not None:
            return
        self.received = signal.Signals(number)
        if not self._is_postponed:
            self.raise_if_received()
        if not is_main_process():  # a terminal and torchrun send the signal to all of them
            return
        hint = "; press Ctrl-C again to stop at once" if number == signal.SIGINT else f" ({self.received.name})"
        # to stderr: print() fails when the signal came in the midst of another print()
        os.write(2, f"\nstopping after this step, last.ckpt will be written{hint}\n".encode())

    def _take(self, numbers: Iterable[int]) -> dict[int, Any]:
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {number: signal.signal(number, self._note) for number in numbers}

    def _give_back(self, previous: dict[int, Any]) -> None:
        for number, handler in previous.items():
            if signal.getsignal(number) == self._note:  # None: one that was not installed from Python
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
        previous.clear()
