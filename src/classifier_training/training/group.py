"""The processes that train one model together: how they are started, meet, exchange a few words, and end."""

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
from typing import Any, Final, TypeVar

import torch
from torch import distributed

from classifier_training.errors import ClassifierTrainingError, RunError, UserError, first_line
from classifier_training.run.place import LOCALHOST, Place
from classifier_training.terminal.terminal import Terminal, duration
from classifier_training.training.rendezvous import OUTCOME, Rendezvous, open_rendezvous

SECONDS_BETWEEN_LOOKS: Final = 0.1
SECONDS_UNTIL_WAITING_IS_SHOWN: Final = 20.0
SECONDS_TO_LEAVE: Final = 20.0
SECONDS_FOR_LAST_WORDS: Final = 5.0
EXIT_INTERRUPTED: Final = 130
_RANK_PROGRAM: Final = ("-m", "classifier_training.training.rank")

FAILURE: Final = "failure"
RESULT: Final = "result"
T = TypeVar("T")

_meetings = itertools.count(1)  # of this process: each has its own names in a store that outlives it


class Group:
    """The processes of one training, seen from one of them; alone, it does nothing.

    Args:
        place: Of this process.
        rendezvous: Where they exchange words; None: there is one process only.
        children: The processes that this one has started.
    """

    def __init__(
        self, place: Place, rendezvous: Rendezvous | None = None, children: tuple[subprocess.Popen[str], ...] = ()
    ) -> None:
        self.place = place
        self._rendezvous = rendezvous
        self._children = children
        self._is_connected = False

    def connect(self, device: str) -> None:
        """Makes the process group of ``torch.distributed``, unless the user's program has made it."""
        if self._rendezvous is None or distributed.is_initialized():
            return
        options: dict[str, Any] = {}
        if device == "cuda":
            torch.cuda.set_device(self.place.local_rank)
            options["device_id"] = torch.device("cuda", self.place.local_rank)
        distributed.init_process_group(
            "nccl" if device == "cuda" else "gloo",
            store=self._rendezvous.store,
            rank=self.place.rank,
            world_size=self.place.world_size,
            **options,
        )
        self._is_connected = True

    def disconnect(self) -> None:
        """Ends it."""
        if self._is_connected:
            self._is_connected = False
            with contextlib.suppress(RuntimeError):  # another process is gone
                distributed.destroy_process_group()

    def share(self, name: str, value: Callable[[], str]) -> str:
        """What the first process knows and the others ask for; ``value`` is called in the first one alone."""
        if self._rendezvous is None:
            return value()
        if self.place.rank == 0:
            text = value()
            self._rendezvous.tell(name, text)
            return text
        return self._rendezvous.wait_for(name)

    def end_fit(self) -> None:
        """After the training nobody waits for the processes that were started here, which end now."""
        if self._rendezvous is not None and self.place.launcher == "none":
            self.disconnect()

    def share_result(self, result: T | None) -> T | None:
        """Gives the result of the first process to those that a launcher has started, and waits for it there.

        Those that the first process has started itself have ended after the training.
        """
        if self._rendezvous is None or self.place.launcher == "none":
            return result
        if self.place.rank == 0:
            self._rendezvous.tell(RESULT, "ready")
        else:
            self._rendezvous.wait_for(RESULT)
        results = [result]
        distributed.broadcast_object_list(results)
        return results[0]

    def fail(self, error: BaseException) -> None:
        """Lets the other processes know that this one ends with an error."""
        if self._rendezvous is None:
            return
        code = getattr(error, "exit_code", EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1)
        code = error.code or 0 if isinstance(error, SystemExit) else code
        with contextlib.suppress(RuntimeError):  # the first process is gone
            if self.place.rank == 0:
                self._rendezvous.tell(OUTCOME, str(code))
            elif isinstance(error, Exception) and not self._rendezvous.knows(FAILURE):
                is_own = isinstance(error, ClassifierTrainingError)
                message = str(error) if is_own else f"{type(error).__name__}: {first_line(error)}"
                failure = {"rank": self.place.rank, "message": message, "exit_code": code}
                self._rendezvous.tell(FAILURE, json.dumps(failure))

    def explain(self, error: Exception) -> BaseException:
        """The error to raise instead of one that follows from another process's, which is raised as it was there."""
        if self._rendezvous is None or isinstance(error, ClassifierTrainingError):
            return error
        # what torch raises when another process is lost is a RuntimeError, and comes before that one's last word
        until = time.monotonic() + (SECONDS_FOR_LAST_WORDS if isinstance(error, RuntimeError) else 0.0)
        with contextlib.suppress(RuntimeError):  # the first process is gone
            while True:
                if self.place.rank > 0 and self._rendezvous.knows(OUTCOME):
                    return SystemExit(int(self._rendezvous.wait_for(OUTCOME)))
                if self.place.rank == 0 and self._rendezvous.knows(FAILURE):
                    return _as_error(json.loads(self._rendezvous.wait_for(FAILURE)), self.place.world_size)
                dead = self.dead_child()
                if dead is not None:
                    return ClassifierTrainingError(f"{dead}; the run can be resumed")
                if time.monotonic() > until:
                    return error
                time.sleep(SECONDS_BETWEEN_LOOKS)
        return error

    def dead_child(self) -> str | None:
        """What is to be said of a started process that has failed; None: none has."""
        for number, child in enumerate(self._children, 1):
            if child.poll():
                how = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
                rank = self.place.rank + number
                return f"process {rank} of {self.place.world_size} (from 0) ended with {how}"
        return None

    def end_children(self, *, is_agreed: bool) -> None:
        """Waits for the processes that this one has started where all have ended alike, and ends those that remain."""
        until = time.monotonic() + (SECONDS_TO_LEAVE if is_agreed else 0.0)
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, until - time.monotonic()))
            if child.poll() is None:
                child.kill()  # SIGTERM is a request to stop, which a process that waits for others does not see
                child.wait()
            if child.stdin is not None:
                with contextlib.suppress(OSError):
                    child.stdin.close()


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
    """Starts the processes of the other devices, unless a launcher has, and waits until all have met.

    Args:
        place: Of this process.
        job: What the processes that are started here need, as JSON values.
        facts: What must be the same in all processes, by name.
        terminal: Where it is printed that somebody is waited for.
        device: ``cpu``, ``cuda`` or ``mps``.
        timeout_seconds: How long.
        is_stop_agreed: Whether all processes end by themselves when this one is stopped.
        meeting_of_parent: The name of the meeting, in a process that another one has started here.

    Raises:
        RunError: They have not met in time, are not the same training, or the address cannot be used.
        ClassifierTrainingError: Within the block, where another process has failed, with its message.
    """
    if place.world_size == 1:
        yield Group(place)
        return
    meeting = meeting_of_parent or f"training{next(_meetings)}"
    with open_rendezvous(place, meeting, timeout_seconds) as rendezvous:
        children: tuple[subprocess.Popen[str], ...] = ()
        if place.launcher == "none":
            children = _start_children(place, rendezvous.port, {**job, "meeting": meeting})
        group = Group(place, rendezvous, children)
        is_agreed = False
        try:
            with _watched(group):
                _meet(group, rendezvous, facts, terminal, timeout_seconds)
                group.connect(device)
                yield group
            is_agreed = True
        except Exception as error:
            instead = group.explain(error)
            group.fail(instead)
            if meeting_of_parent:
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
    """Starts a process for each further device of this machine; they end when this one does."""
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
    """Waits until all processes are there, and makes sure that they are one training."""
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
        time.sleep(SECONDS_BETWEEN_LOOKS)
    _check_same(facts, {rank: json.loads(rendezvous.arrival(rank)) for rank in range(1, place.world_size)})
    rendezvous.tell("met", "yes")


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


def _as_error(failure: Mapping[str, Any], world_size: int) -> ClassifierTrainingError:
    kind = UserError if failure["exit_code"] == UserError.exit_code else ClassifierTrainingError
    return kind(f"{failure['message']} (in process {failure['rank']} of {world_size}, from 0)")
