"""The processes that train one model together, and what they report to each other."""

from __future__ import annotations

import contextlib
import json
import subprocess  # the started processes are waited for
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, TypeVar, cast

import torch
from torch import distributed

from classifier_training.errors import BatchMemoryError, ClassifierTrainingError, UserError, first_line
from classifier_training.run.place import Place
from classifier_training.training.rendezvous import OUTCOME, Rendezvous

POLL_SECONDS: Final = 0.1
SECONDS_TO_LEAVE: Final = 20.0
SECONDS_FOR_A_MESSAGE: Final = 5.0
EXIT_INTERRUPTED: Final = 130

FAILURE: Final = "failure"
RESULT: Final = "result"
SECONDS_TO_MEET_AGAIN: Final = 60.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shortage:
    """Memory that has run out in a process.

    Attributes:
        message: The message of the error.
        rank: The process.
        is_of_batch: Whether smaller batches may help.
    """

    message: str
    rank: int
    is_of_batch: bool


class Group:
    """The processes of one training, seen from one of them; alone, it does nothing.

    Args:
        place: Of this process.
        rendezvous: Where they exchange messages; None: there is one process only.
        children: The processes that this one has started.
    """

    def __init__(
        self, place: Place, rendezvous: Rendezvous | None = None, children: tuple[subprocess.Popen[str], ...] = ()
    ) -> None:
        self.place = place
        self._rendezvous = rendezvous
        self._children = children
        self._is_connected = False
        self._device = "cpu"
        self._num_meetings = 0  # after memory had run out
        self._own_shortage: Shortage | None = None

    def connect(self, device: str) -> None:
        """Makes the process group of ``torch.distributed``, unless the user's program has made it."""
        self._device = device
        if self._rendezvous is None or distributed.is_initialized():
            return
        options: dict[str, Any] = {}
        if device == "cuda":
            torch.cuda.set_device(self.place.local_rank)
            options["device_id"] = torch.device("cuda", self.place.local_rank)
        distributed.init_process_group(
            "nccl" if device == "cuda" else "gloo",
            store=self._rendezvous.store_of(self._num_meetings),
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
        """What the first process finds and the others read; ``value`` is called in the first one alone."""
        if self._rendezvous is None:
            return value()
        if self.place.rank == 0:
            text = value()
            self._rendezvous.publish(name, text)
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
            self._rendezvous.publish(RESULT, "ready")
        else:
            self._rendezvous.wait_for(RESULT)
        results = [result]
        distributed.broadcast_object_list(results)
        return results[0]

    def hears_of_shortage(self, error: Exception) -> bool:
        """Whether an error comes of memory that has run out, here or in another process; others are told of it.

        Then all processes have to call `meet_again`, once they have let go of what they computed with.
        """
        is_own = isinstance(error, BatchMemoryError)
        self._own_shortage = None
        if is_own:
            self._own_shortage = Shortage(str(error), self.place.rank, not isinstance(error.__context__, OSError))
        if self._rendezvous is None:
            return is_own
        key = f"shortage{self._num_meetings}"
        with contextlib.suppress(RuntimeError):  # the first process is gone
            if self._own_shortage is not None:
                self._rendezvous.publish(f"{key}/{self.place.rank}", json.dumps(asdict(self._own_shortage)))
                self._rendezvous.publish(key, "yes")
                return True
            if isinstance(error, ClassifierTrainingError) or not self._is_connected:
                return False
            # what torch raises when another process has left is a RuntimeError
            until = time.monotonic() + (SECONDS_FOR_A_MESSAGE if isinstance(error, RuntimeError) else 0.0)
            while not self._rendezvous.has(key):
                if time.monotonic() > until or self._rendezvous.has(FAILURE) or self.dead_child() is not None:
                    return False
                time.sleep(POLL_SECONDS)
            return True
        return False

    def meet_again(self) -> Shortage:
        """Has all processes leave whatever they did together, and meet anew; gives what has run out of memory.

        Raises:
            BatchMemoryError: The others do not come: they have failed, or wait for something else.
        """
        if self._rendezvous is None:
            return cast("Shortage", self._own_shortage)
        was_connected, number = self._is_connected, self._num_meetings
        if was_connected:
            self.abort_collectives()
        self.disconnect()
        self._rendezvous.publish(f"again{number}/{self.place.rank}", "yes")
        ranks, until = range(self.place.world_size), time.monotonic() + SECONDS_TO_MEET_AGAIN
        while not all(self._rendezvous.has(f"again{number}/{rank}") for rank in ranks):
            is_over = self._rendezvous.has(FAILURE) or self._rendezvous.has(OUTCOME) or self.dead_child() is not None
            if is_over or time.monotonic() > until:
                own = self._own_shortage
                raise BatchMemoryError(own.message if own else "out of memory in another process, which has ended")
            time.sleep(POLL_SECONDS)
        keys = [f"shortage{number}/{rank}" for rank in ranks]
        found = [Shortage(**json.loads(self._rendezvous.wait_for(key))) for key in keys if self._rendezvous.has(key)]
        self._num_meetings += 1
        if was_connected:
            self.connect(self._device)
        first = found[0]
        if len(found) < len(ranks):
            where = f" in process {first.rank} of {len(ranks)}, from 0; "
            first = replace(first, message=first.message.replace("; ", where, 1))
        return replace(first, is_of_batch=all(one.is_of_batch for one in found))

    def abort_collectives(self) -> None:
        """Ends the collectives in which GPUs wait for a process that has left; on CPUs they end by themselves."""
        if self._is_connected and distributed.get_backend() == "nccl":
            torch_group: Any = distributed.distributed_c10d._get_default_group()  # its abort() is public
            with contextlib.suppress(RuntimeError):
                torch_group.abort()

    @property
    def is_short_of_memory(self) -> bool:
        """Whether another process has run out of memory, and this one does not know it yet."""
        if self._rendezvous is None or self._own_shortage is not None:
            return False
        with contextlib.suppress(RuntimeError):
            return self._rendezvous.has(f"shortage{self._num_meetings}")
        return False

    def fail(self, error: BaseException) -> None:
        """Publishes that this process ends with an error."""
        if self._rendezvous is None:
            return
        code = getattr(error, "exit_code", EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1)
        code = error.code or 0 if isinstance(error, SystemExit) else code
        with contextlib.suppress(RuntimeError):  # the first process is gone
            if self.place.rank == 0:
                self._rendezvous.publish(OUTCOME, str(code))
            elif isinstance(error, Exception) and not self._rendezvous.has(FAILURE):
                is_own = isinstance(error, ClassifierTrainingError)
                message = str(error) if is_own else f"{type(error).__name__}: {first_line(error)}"
                failure = {"rank": self.place.rank, "message": message, "exit_code": code}
                self._rendezvous.publish(FAILURE, json.dumps(failure))

    def explain(self, error: Exception) -> BaseException:
        """The error to raise instead of one that follows from another process's, which is raised as it was there."""
        if self._rendezvous is None or isinstance(error, ClassifierTrainingError):
            return error
        # what torch raises when another process is lost is a RuntimeError, and comes before that one's message
        until = time.monotonic() + (SECONDS_FOR_A_MESSAGE if isinstance(error, RuntimeError) else 0.0)
        with contextlib.suppress(RuntimeError):  # the first process is gone
            while True:
                if self.place.rank > 0 and self._rendezvous.has(OUTCOME):
                    return SystemExit(int(self._rendezvous.wait_for(OUTCOME)))
                if self.place.rank == 0 and self._rendezvous.has(FAILURE):
                    return _as_error(json.loads(self._rendezvous.wait_for(FAILURE)), self.place.world_size)
                dead = self.dead_child()
                if dead is not None:
                    return ClassifierTrainingError(f"{dead}; the run can be resumed")
                if time.monotonic() > until:
                    return _lost(error, self.place) or error
                time.sleep(POLL_SECONDS)
        return _lost(error, self.place) or error

    def dead_child(self) -> str | None:
        """A message about a started process that has failed; None: none has."""
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


def _lost(error: Exception, place: Place) -> ClassifierTrainingError | None:
    """The error to raise where a collective of torch has lost another process; None: it is of another kind."""
    is_connection = isinstance(error, distributed.DistError) or "gloo" in str(error)
    if not (isinstance(error, RuntimeError) and is_connection):
        return None
    return ClassifierTrainingError(
        f"process {place.rank} of {place.world_size} (from 0) has lost the connection to another one, which was killed"
        f" or whose machine is gone ({first_line(error)[:120]}); the run can be resumed"
    )


def _as_error(failure: Mapping[str, Any], world_size: int) -> ClassifierTrainingError:
    kind = UserError if failure["exit_code"] == UserError.exit_code else ClassifierTrainingError
    return kind(f"{failure['message']} (in process {failure['rank']} of {world_size}, from 0)")
