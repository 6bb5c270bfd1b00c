"""Where the processes of a training meet: a key-value store at an address, which torch's process group uses too.

Every wait polls, so that a signal is answered at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from datetime import timedelta
from typing import Any, Final, Self

import torch

from classifier_training.errors import RunError, first_line
from classifier_training.run.place import LOCALHOST, Place

_torch: Any = torch.distributed  # its stores are public, and not exported for type checkers
POLL_SECONDS: Final = 0.1
SECONDS_OF_A_REQUEST: Final = 300.0
SECONDS_FOR_A_NAME: Final = 10.0
"""How long a name is looked up: one in a cluster's network may appear a moment after its machine has started."""
SECONDS_OF_THE_HOLDER: Final = 10.0
"""How long the first process tries to reach the store that it holds itself."""

OUTCOME: Final = "outcome"
"""The key under which the first process ends a training everywhere; the value is an exit code."""

_stores: dict[tuple[str | None, int, bool], Any] = {}
"""The stores at addresses that a launcher gives: they outlive a training, as the next one meets there again."""


class Rendezvous:
    """The keys and values of one meeting.

    Args:
        place: Of this process.
        store: The one that all processes use.
        meeting: Its name.

    Attributes:
        port: Where the store listens.
    """

    def __init__(self, place: Place, store: Any, meeting: str) -> None:
        self.port = store.port
        self._store, self._meeting = store, meeting
        self._place = place
        self._values = _torch.PrefixStore(meeting, store)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """The process that holds the store leaves last: the others ask it until they have left."""
        if self._place.rank > 0:
            with contextlib.suppress(RuntimeError):  # the first process is gone
                if not self._values.check(["met"]):  # it may be started again while the first one waits
                    self._values.delete_key(f"arrival{self._place.rank}")
                    self._values.add(f"number{self._place.rank}", -1)
                self._values.set(f"left{self._place.rank}", "yes")
            return
        until = time.monotonic() + (POLL_SECONDS * 50 if error[0] is None else 1.0)
        is_alone = self._place.launcher == "none" and self._place.num_nodes == 1
        left = [f"left{rank}" for rank in range(1, self._place.world_size)]
        while not is_alone and time.monotonic() < until and not self._values.check(left):
            time.sleep(POLL_SECONDS)

    def store_of(self, number: int) -> Any:
        """The store of torch's process group, which is made anew after each of several interruptions."""
        return _torch.PrefixStore(f"{self._meeting}/torch{number or ''}", self._store)

    def arrive(self, value: str) -> None:
        """Publishes that this process has arrived, with a value.

        Raises:
            RunError: Another one has taken its rank.
        """
        rank = self._place.rank
        if self._values.add(f"number{rank}", 1) > 1:
            raise RunError(
                f"two processes at {self._place.address}:{self.port} have rank {rank}: give every machine its own"
                f" NODE_RANK, 0 … {self._place.num_nodes - 1}, and every training its own MASTER_PORT"
            )
        self._values.set(f"arrival{rank}", value)

    def missing(self) -> list[int]:
        """The ranks that have not arrived."""
        return [rank for rank in range(self._place.world_size) if not self._values.check([f"arrival{rank}"])]

    def arrival(self, rank: int) -> str:
        """The value with which a process arrived."""
        return str(self._values.get(f"arrival{rank}").decode())

    def publish(self, name: str, value: str) -> None:
        """Writes a value that the other processes can read."""
        self._values.set(name, value)

    def has(self, name: str) -> bool:
        """Whether a process has published a value of this name."""
        return bool(self._values.check([name]))

    def wait_for(self, name: str) -> str:
        """Waits for a value that another process publishes.

        Raises:
            RunError: The first process is gone.
            SystemExit: It has ended the training; the code is its own.
        """
        try:
            while not self.has(name):
                if self.has(OUTCOME):
                    raise SystemExit(int(self._values.get(OUTCOME)))
                time.sleep(POLL_SECONDS)
            return str(self._values.get(name).decode())
        except RuntimeError:
            raise RunError(
                f"the first process, at {self._place.address}:{self.port}, has ended; its message says why"
            ) from None


def open_rendezvous(place: Place, meeting: str, timeout_seconds: float) -> Rendezvous:
    """Opens the store in the first process, and reaches it from the others.

    Raises:
        RunError: The address cannot be used, or the first process does not come in time.
    """
    # torchrun keeps a store of its own, which also outlives a restart of its processes
    is_kept_by_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and place.launcher == "torchrun"
    holds = place.rank == 0 and not is_kept_by_torchrun
    if is_kept_by_torchrun:
        meeting = f"classifier_training/attempt{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{meeting}"
    key = (place.address, place.port, holds)
    store = _stores.get(key) if place.port else None
    if store is None:
        store = _hold(place) if holds else _reach(place, timeout_seconds)
        if place.port:
            _stores[key] = store
    return Rendezvous(place, store, meeting)


def _hold(place: Place) -> Any:
    address = place.address or LOCALHOST
    _look_up(address, 0.0)
    if not _is_own(address):
        raise RunError(
            f"MASTER_ADDR={address} is not an address of this machine, which is the first one (rank 0); set it to this"
            " machine's name or address, here and on the others, or give NODE_RANK"
        )
    try:
        return _store(LOCALHOST, place.port, is_holder=True)
    except RuntimeError as error:
        if "EADDRINUSE" in str(error) or os.strerror(errno.EADDRINUSE) in str(error):
            reason = "the port is in use; set MASTER_PORT to a free one"
        else:
            reason = f"{first_line(error)[:120]}; set MASTER_PORT to another one"
        raise RunError(f"MASTER_ADDR={address} MASTER_PORT={place.port}: {reason}") from None


def _is_own(address: str) -> bool:
    """Whether a name leads to this machine: only there its addresses can be listened at."""
    for family, kind, protocol, _, target in socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM):
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as own:
            own.bind(target)
            return True
    return False


def _reach(place: Place, timeout_seconds: float) -> Any:
    """Connects to the first process, which may come later."""
    address = place.address or LOCALHOST
    _look_up(address, min(SECONDS_FOR_A_NAME, timeout_seconds))
    started = time.monotonic()
    is_shown = place.local_rank > 0 or place.num_nodes == 1
    while True:
        with contextlib.suppress(OSError):
            with socket.create_connection((address, place.port), timeout=2.0):
                pass  # torch's own attempt writes lines to standard error while nobody answers
            try:
                return _store(address, place.port, is_holder=False)
            except RuntimeError:
                raise RunError(
                    f"what answers at {address}:{place.port} is not the first process of this training; check"
                    " MASTER_ADDR and MASTER_PORT"
                ) from None
        if not is_shown:
            is_shown = True
            limit = f"at most {timeout_seconds:g} s; Ctrl-C or SIGTERM stops"
            os.write(2, f"waiting for the first process at {address}:{place.port}, {limit}\n".encode())
        if time.monotonic() - started > timeout_seconds:
            raise RunError(
                f"the first process did not answer at {address}:{place.port} within {timeout_seconds:g} s"
                " (trainer.join_timeout_seconds); check MASTER_ADDR, MASTER_PORT and firewalls, and start it"
            )
        time.sleep(POLL_SECONDS)


def _store(address: str, port: int, *, is_holder: bool) -> Any:
    store = _torch.TCPStore(
        address,
        port,
        is_master=is_holder,
        wait_for_workers=False,
        timeout=timedelta(seconds=SECONDS_OF_THE_HOLDER),
        use_libuv=os.name != "nt",
    )
    store.set_timeout(timedelta(seconds=SECONDS_OF_A_REQUEST))
    return store


def _look_up(address: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            socket.getaddrinfo(address, None)
        except (OSError, UnicodeError) as error:
            if time.monotonic() >= until:
                raise RunError(
                    f"MASTER_ADDR={address}: no machine of this name is found ({first_line(error)}); set it to the name"
                    " or number of the first machine"
                ) from None
            time.sleep(POLL_SECONDS)
        else:
            return
