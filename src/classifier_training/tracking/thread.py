"""The thread of a tracker, so that no training waits for it or fails with it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable

from classifier_training.files.credentials import without_credentials
from classifier_training.tracking.tracker import Tracker

MAX_REASON_LENGTH = 300


class TrackerThread:
    """Runs the jobs of a tracker, one after the other, until one fails or takes too long.

    A tracker that has failed gets no more jobs. A call that hangs is abandoned: the thread does not keep the process
    alive.

    Args:
        name: The tracker's display name.
        make: Imports the tracker's library and starts its run.
        timeout_seconds: Longest time for one job.
    """

    def __init__(self, name: str, make: Callable[[], Tracker], timeout_seconds: float) -> None:
        self.name = name
        self.timeout_seconds = timeout_seconds
        self.tracker: Tracker | None = None
        self._make = make
        self._jobs: deque[Callable[[Tracker], None]] = deque()
        self._changed = threading.Condition()
        self._busy_since: float | None = time.monotonic()  # creating the tracker is the first job
        self._is_closed = False
        self._failure: str | None = None
        threading.Thread(target=self._work, name=f"tracker {name}", daemon=True).start()

    @property
    def failure(self) -> str | None:
        """Why the tracker gets no more jobs, on one line; None: it works, as far as is known."""
        with self._changed:
            if self._failure is None and self._is_overdue():
                self._fail(f"no answer within {self.timeout_seconds:g} s")
            return self._failure

    @property
    def num_queued(self) -> int:
        """The number of jobs after the one that is running."""
        with self._changed:
            return len(self._jobs)

    def submit(self, job: Callable[[Tracker], None]) -> None:
        """Adds a job to the queue; does not wait."""
        if self.failure is None:
            with self._changed:
                self._jobs.append(job)
                self._changed.notify_all()

    def wait(self, seconds: float | None = None, ends: float | None = None) -> None:
        """Waits until the queue is empty.

        Args:
            seconds: The tracker has failed when it takes longer; None: only the time of each job is limited.
            ends: When these seconds end, by the monotonic clock; None: they start now.
        """
        ends = time.monotonic() + seconds if ends is None and seconds is not None else ends
        with self._changed:
            while self._failure is None and (self._jobs or self._busy_since is not None):
                now = time.monotonic()
                if self._is_overdue() or (ends is not None and now >= ends):
                    self._fail(f"no answer within {self.timeout_seconds if seconds is None else seconds:g} s")
                    return
                overdue = (now if self._busy_since is None else self._busy_since) + self.timeout_seconds
                self._changed.wait(max(0.0, (overdue if ends is None else min(overdue, ends)) - now))

    def close(self) -> None:
        """Ends the thread when the queue is empty."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            self.tracker = tracker = self._make()
            while (job := self._next_job()) is not None:
                job(tracker)
        except BaseException as error:  # also SystemExit: a library must not end the program
            reason = without_credentials(" ".join(str(error).split())) or type(error).__name__
            with self._changed:
                self._fail(reason if len(reason) <= MAX_REASON_LENGTH else f"{reason[:MAX_REASON_LENGTH]}…")
            with contextlib.suppress(BaseException):
                if self.tracker is not None:
                    self.tracker.close(succeeded=False)  # at least its files

    def _next_job(self) -> Callable[[Tracker], None] | None:
        with self._changed:
            self._busy_since = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._jobs or self._is_closed or self._failure is not None)
            if self._failure is not None or not self._jobs:
                return None
            self._busy_since = time.monotonic()
            return self._jobs.popleft()

    def _is_overdue(self) -> bool:
        return self._busy_since is not None and time.monotonic() - self._busy_since >= self.timeout_seconds

    def _fail(self, reason: str) -> None:
        if self._failure is None:
            self._failure = reason
        self._jobs.clear()
        self._changed.notify_all()
