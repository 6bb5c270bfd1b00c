"""What all processes of a training do at the same point of it because one of them asks, without meeting at each point.

Every process trains in step with the others, but is never exactly where they are, so a process that is told to stop
cannot know where the others are. A collective operation after each step would tell, and would let every process, and
its device, wait for the slowest one.
"""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import torch

from classifier_training.errors import ClassifierTrainingError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

SECONDS_BETWEEN_LOOKS: Final = 0.2
"""How often a process looks for a request of another one."""
MAX_WAIT_SECONDS: Final = 300.0
"""How long a process that is to act waits for the others to say where they are."""


class Agreement:
    """Finds a point that no process has passed yet; there all act on a request that one of them has made.

    A point is a call of `reach`; every process must come to the same points in the same order. While nobody asks for
    anything, a point costs a lock. Requests go through the key-value store by which the processes have found each
    other. A thread of each process looks there; at a request it writes down how many points its process has passed,
    and the process passes no further one before it knows these numbers of all. The largest of them is the point. Rank
    0, which has the store, acts only when all others know it as well, so that it may leave at once.

    Without a request the processes must meet between the last point and `close`, or one that asks would wait for
    another that has left.

    Args:
        store: The store that all processes share.
        name: Unique among all agreements in the store, the same in all processes.
        rank: This process.
        world_size: Number of processes.
    """

    def __init__(self, store: Store, name: str, rank: int, world_size: int) -> None:
        distributed: Any = torch.distributed  # which does not say that it exports this class
        self._store: Store = distributed.PrefixStore(name, store)
        self._rank, self._world_size = rank, world_size
        self._lock = threading.Lock()  # of the next four
        self._round = 0
        self._num_passed = 0
        self._is_asked = False
        self._agreed: tuple[int, int] | None = None  # the point, and what was asked for
        self._has_requested = -1  # the round
        self._changed, self._closed = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, name=f"agreement {name}", daemon=True)
        self._thread.start()

    def request(self, number: int) -> None:
        """Asks all processes to act; of several requests the first counts.

        Args:
            number: What is asked for, > 0.
        """
        if self._has_requested < self._round:
            self._has_requested = self._round
            self._store.compare_set(f"{self._round}/request", "", str(number))

    def reach(self) -> int:
        """Comes to the next point, which is passed, unless all processes act here.

        Returns:
            What was asked for, if all act here, else 0.

        Raises:
            ClassifierTrainingError: The other processes do not answer.
        """
        with self._lock:
            if not self._is_asked:
                self._num_passed += 1
                return 0
        point, number = self._wait_for_agreement()
        with self._lock:
            self._num_passed += 1
            if self._num_passed <= point:
                return 0
            self._round, self._is_asked, self._agreed = self._round + 1, False, None
            return number

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        self._thread.join(timeout=1.0)

    def _wait_for_agreement(self) -> tuple[int, int]:
        end = time.monotonic() + MAX_WAIT_SECONDS
        while self._agreed is None:
            if self._error is not None or time.monotonic() > end:
                reason = self._error or f"no answer for {MAX_WAIT_SECONDS:.0f} s"
                raise ClassifierTrainingError(
                    f"the processes of this training cannot agree where to stop or to save ({reason}); resume the run"
                    " from its last checkpoint"
                )
            self._changed.wait(SECONDS_BETWEEN_LOOKS)
            self._changed.clear()
        return self._agreed

    def _watch(self) -> None:
        try:
            while not self._closed.wait(SECONDS_BETWEEN_LOOKS):
                if not self._is_asked and self._store.check([f"{self._round}/request"]):
                    self._answer()
        except (RuntimeError, OSError) as error:  # the first process, which has the store, is gone
            self._error = error

    def _answer(self) -> None:
        """Says where this process is, and finds out where the others are."""
        with self._lock:
            self._is_asked = True
            self._store.set(f"{self._round}/{self._rank}", str(self._num_passed))
        keys = [f"{self._round}/{rank}" for rank in range(self._world_size)]
        if not self._wait_for(keys):
            return
        agreed = max(int(self._store.get(key)) for key in keys), int(self._store.get(f"{self._round}/request"))
        if self._rank:
            self._store.set(f"{self._round}/{self._rank}/knows", "1")
        elif not self._wait_for([f"{key}/knows" for key in keys[1:]]):
            return
        self._agreed = agreed
        self._changed.set()

    def _wait_for(self, keys: list[str]) -> bool:
        """Whether the store has them at last; not if this agreement is closed before."""
        # not by a blocking call, which would keep other threads of this process from using the store
        while not self._store.check(keys):
            if self._closed.wait(SECONDS_BETWEEN_LOOKS / 10):
                return False
        return True


def agree_with_all(name: str) -> Agreement | None:
    """An agreement of all processes of the default process group; None: this one is alone, or has no such group.

    All processes must call it at the same time.

    Args:
        name: What it is about.
    """
    shared = shared_store(name)
    if shared is None:
        return None
    return Agreement(*shared, torch.distributed.get_rank(), torch.distributed.get_world_size())


def shared_store(name: str) -> tuple[Store, str] | None:
    """The key-value store of all processes of the default process group, and a prefix that nobody else uses.

    All processes must call it at the same time.

    Args:
        name: What it is for.

    Returns:
        None: this process is alone, or has no such group.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return None
    if torch.distributed.get_world_size() == 1:
        return None
    unique = [uuid.uuid4().hex]  # sets it apart from earlier ones of that name
    torch.distributed.broadcast_object_list(unique, src=0)
    # torch has no public way to the store that every process group is made with
    store = torch.distributed.distributed_c10d._get_default_store()
    return store, f"classifier_training/{name}/{unique[0]}"
