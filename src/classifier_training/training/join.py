"""How the processes that train one model are started, meet, and end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess  # this program alone is started
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from classifier_training.errors import ClassifierTrainingError, RunError
from classifier_training.run.place import LOCALHOST, Place
from classifier_training.terminal.terminal import Terminal, duration
from classifier_training.training.group import POLL_SECONDS, SECONDS_TO_LEAVE, Group
from classifier_training.training.rendezvous import Rendezvous, open_rendezvous

SECONDS_UNTIL_WAITING_IS_SHOWN: Final = 20.0
_RANK_PROGRAM: Final = ("-m", "classifier_training.training.rank")

_meetings = itertools.count(1)  # of this process: each has its own names in a store that outlives it


@contextlib.contextmanager
def join_group(
    place: Place,
    job: Mapping[str, Any],
    facts: Mapping[str, str],
    terminal: Terminal,
    *,
    device: str,
    timeout_seconds: float,
    is_stop_agreed: Callable[[], bool],
    meeting_of_parent: str | None = None,
) -> Iterator[Group]:
    """Starts the processes of the other devices, unless a launcher has, and waits until all have arrived.

    Args:
        place: Of this process.
        job: What the processes that are started here need, as JSON values.
        facts: What must be the same in all processes, by name.
        terminal: Where it prints for which processes it waits.
        device: ``cpu``, ``cuda`` or ``mps``.
        timeout_seconds: How long.
        is_stop_agreed: Whether all processes end by themselves when this one is stopped.
        meeting_of_parent: The name of the meeting, in a process that another one has started here.

    Raises:
        RunError: They do not arrive in time, are not the same training, or the address cannot be used.
        ClassifierTrainingError: Within the block, where another process has failed, with its message.
    """
    if place.world_size == 1:
        yield Group(place)
        return
    meeting = meeting_of_parent or f"training{next(_meetings)}"
    with open_rendezvous(place, meeting, timeout_seconds) as rendezvous:
        children = _start_children(place, rendezvous.port, {**job, "meeting": meeting})
        group = Group(place, rendezvous, children)
        with _ended(group, is_stop_agreed, is_child=bool(meeting_of_parent)), _watched(group):
            _meet(group, rendezvous, facts, terminal, timeout_seconds)
            group.connect(device)
            yield group


@contextlib.contextmanager
def _ended(group: Group, is_stop_agreed: Callable[[], bool], *, is_child: bool) -> Iterator[None]:
    """Publishes how this process ends, and ends those that it has started."""
    is_agreed = False
    try:
        yield
        is_agreed = True
    except Exception as error:
        instead = group.explain(error)
        group.fail(instead)
        if is_child:
            if instead is error and not isinstance(error, ClassifierTrainingError):
                traceback.print_exc()
            raise SystemExit(getattr(instead, "exit_code", 1)) from None  # the first process gives the message
        if instead is error:
            raise
        raise instead from None
    except BaseException as error:
        is_agreed = is_stop_agreed()
        group.fail(error)
        raise
    finally:
        group.disconnect()
        group.end_children(is_agreed=is_agreed)


def _start_children(place: Place, port: int, job: Mapping[str, Any]) -> tuple[subprocess.Popen[str], ...]:
    """Starts a process for each further device of this machine, unless a launcher has; they end when this one does."""
    if place.launcher != "none":
        return ()
    modules = [entry for entry in sys.path if entry]
    children: list[subprocess.Popen[str]] = []
    for local_rank in range(1, place.num_devices):
        environment = {
            **os.environ,
            "LOCAL_RANK": str(local_rank),
            "NODE_RANK": str(place.node_rank),
            "WORLD_SIZE": str(place.world_size),
            "MASTER_ADDR": place.address or LOCALHOST,
            "MASTER_PORT": str(port),
            "PYTHONPATH": os.pathsep.join(modules),
        }
        child = subprocess.Popen(  # noqa: S603 - this program
            [sys.executable, *_RANK_PROGRAM], stdin=subprocess.PIPE, env=environment, text=True, encoding="utf-8"
        )
        children.append(child)
        if child.stdin is not None:
            with contextlib.suppress(OSError):  # it has ended already, which is found where it is waited for
                child.stdin.write(json.dumps(job) + "\n")
                child.stdin.flush()
    return tuple(children)


def _meet(
    group: Group, rendezvous: Rendezvous, facts: Mapping[str, str], terminal: Terminal, timeout_seconds: float
) -> None:
    """Waits until all processes have arrived, and makes sure that they are one training."""
    place = group.place
    rendezvous.arrive(json.dumps({"host": socket.gethostname(), "facts": dict(facts)}))
    if place.rank > 0:
        rendezvous.wait_for("met")
        return
    where = f"{place.address}:{rendezvous.port}"
    started = time.monotonic()
    is_shown = False
    while missing := rendezvous.missing():
        dead = group.dead_child()
        if dead is not None:
            raise RunError(f"{dead} before the training began; its message is above, nothing was written")
        waited = time.monotonic() - started
        who = f"{len(missing)} of {place.world_size} processes ({_ranks(missing)})"
        if waited > timeout_seconds:
            raise RunError(
                f"waited {duration(timeout_seconds)} at {where} for {who} (trainer.join_timeout_seconds); start the"
                f" program on every machine with MASTER_ADDR={place.address} MASTER_PORT={rendezvous.port} and its own"
                " NODE_RANK, or with torchrun or srun in front of it; on one machine leave trainer.num_nodes out"
            )
        if not is_shown and (place.num_nodes > 1 or waited > SECONDS_UNTIL_WAITING_IS_SHOWN):
            is_shown = True
            limit = duration(timeout_seconds)
            terminal.result(f"waiting at {where} for {who}, at most {limit}; Ctrl-C or SIGTERM stops")
        time.sleep(POLL_SECONDS)
    _check_same(facts, {rank: json.loads(rendezvous.arrival(rank)) for rank in range(1, place.world_size)})
    rendezvous.publish("met", "yes")


def _check_same(facts: Mapping[str, str], others: Mapping[int, Mapping[str, Any]]) -> None:
    for rank, other in others.items():
        theirs = other["facts"]
        different = [name for name in facts if theirs.get(name) != facts[name]]
        if different:
            changes = ", ".join(f"{name} ({facts[name]} here, {theirs.get(name)} there)" for name in different)
            raise RunError(
                f"process {rank} on {other['host']} would train something else: {changes}; start all processes with"
                " the same settings and the same photos"
            )


@contextlib.contextmanager
def _watched(group: Group) -> Iterator[None]:
    """Ends this process when one that it has started has failed and this one waits for it in vain.

    A GPU's collectives wait for a lost process for ten minutes and more, in which Python code does not run. Those of
    a CPU notice it themselves, long before this does.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            if group.is_short_of_memory and not over.wait(2.0) and group.is_short_of_memory:
                group.abort_collectives()
            dead = group.dead_child()
            if dead is not None and not over.wait(SECONDS_TO_LEAVE):
                os.write(2, f"error: {dead}; the run can be resumed\n".encode())
                group.end_children(is_agreed=False)
                os._exit(1)

    watcher = threading.Thread(target=watch, daemon=True, name="watches the other devices")
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _ranks(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    return f"rank {shown}" if len(numbers) == 1 else f"ranks {shown}"
