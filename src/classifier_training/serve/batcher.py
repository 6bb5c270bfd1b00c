"""Collects the images of many requests into the batches of one model."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from numpy.typing import NDArray

Answer = TypeVar("Answer")
_SMOOTHING: Final = 0.2
"""Weight of the latest batch in the mean time of an image."""
_QUEUED: Final = 2
"""Images that each preparing thread is given at a time, so that it does not wait for the event loop in between."""


_MAX_BYTES: Final = 256 * 2**20
"""Of the images of a batch, and of those that lie prepared; more only where one image alone has more."""


@dataclass(eq=False, slots=True)
class _Job(Generic[Answer]):
    """One image on its way; ``answer`` is cancelled when nobody waits for it any more."""

    content: bytes
    answer: asyncio.Future[Answer]
    prepared: NDArray[Any] | None = None
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[Answer]):
    """Prepares images in threads and runs the model, a few batches at a time, on what is ready.

    A model that is idle takes what there is at once: nothing waits for a batch to fill up. While it runs, images become
    ready, and the next batch takes them. Only images of one shape travel together. How many images lie prepared in
    memory is bounded; the others wait as the bytes of their files.

    Args:
        prepare: From the bytes of a file to the model's input for it, in a thread; may raise.
        run: From N inputs of one shape to N answers, or what went wrong with single ones, in a thread.
        sizes: The sizes that a batch may have; 1 is one of them.
        num_threads: Threads that prepare.
        num_models: Threads that run the model, each on a batch of its own.
        on_batch: Called with the number of images of each batch.

    Attributes:
        seconds_per_image: Mean time of an image in a batch of late; None before the first.
    """

    def __init__(
        self,
        prepare: Callable[[bytes], NDArray[Any]],
        run: Callable[[Sequence[NDArray[Any]]], Sequence[Answer | Exception]],
        sizes: Sequence[int],
        num_threads: int,
        num_models: int = 1,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._prepare, self._run, self._on_batch = prepare, run, on_batch
        self._sizes = sorted(sizes, reverse=True)
        self._num_threads = num_threads
        self._num_models = num_models
        self._max_ahead = (1 + num_models) * self._sizes[0] + _QUEUED * num_threads
        self._waiting: deque[_Job[Answer]] = deque()
        self._ready: deque[_Job[Answer]] = deque()
        self._num_preparing = 0
        self._num_running = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._preparers = ThreadPoolExecutor(num_threads, thread_name_prefix="prepare")
        self._model = ThreadPoolExecutor(num_models, thread_name_prefix="model")
        self._last_end = 0.0
        self.seconds_per_image: float | None = None

    async def __call__(self, content: bytes) -> Answer:
        """The answer to one image; cancel it, and the image is dropped as soon as no thread is busy with it.

        Raises:
            Exception: What ``prepare`` or ``run`` raised.
        """
        job: _Job[Answer] = _Job(content, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._advance()
        try:
            return await job.answer
        finally:
            if job in self._waiting:  # nobody waits for it any more
                self._waiting.remove(job)

    def close(self) -> None:
        """Ends the threads, after what they are busy with."""
        self._preparers.shutdown(cancel_futures=True)
        self._model.shutdown(cancel_futures=True)

    def _advance(self) -> None:
        """Gives the threads whatever there is to do."""
        while self._waiting and self._num_preparing < _QUEUED * self._num_threads and self._has_room():
            job = self._waiting.popleft()
            if not job.answer.done():
                self._num_preparing += 1
                self._start(self._prepare_one(job))
        while self._num_running < self._num_models and (batch := self._next_batch()):
            self._num_running += 1
            self._start(self._run_batch(batch))

    def _has_room(self) -> bool:
        num_bytes = sum(map(_num_bytes, self._ready))
        return len(self._ready) + self._num_preparing < self._max_ahead and num_bytes < _MAX_BYTES

    def _next_batch(self) -> list[_Job[Answer]]:
        """The oldest ready image with others of its shape, as many as the largest allowed size takes."""
        self._ready = deque(job for job in self._ready if not job.answer.done())
        if not self._ready:
            return []
        shape = _shape(self._ready[0])
        alike = [job for job in self._ready if _shape(job) == shape]
        most = max(1, min(len(alike), _MAX_BYTES // max(1, _num_bytes(self._ready[0]))))
        size = next(size for size in self._sizes if size <= most)
        batch = alike[:size]
        taken = set(map(id, batch))
        self._ready = deque(job for job in self._ready if id(job) not in taken)
        return batch

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _prepare_one(self, job: _Job[Answer]) -> None:
        try:
            job.prepared = await asyncio.get_running_loop().run_in_executor(self._preparers, self._prepare, job.content)
            self._ready.append(job)
        except Exception as error:  # it belongs to whoever waits for the image
            _settle(job, error)
        finally:
            job.content = b""
            self._num_preparing -= 1
            self._advance()

    async def _run_batch(self, batch: list[_Job[Answer]]) -> None:
        inputs = [job.prepared for job in batch if job.prepared is not None]
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self._model, self._run, inputs)
            for job, answer in zip(batch, answers, strict=True):
                _settle(job, answer)
            self._measure(batch)
            self._on_batch(len(batch))
        except Exception as error:  # as above
            for job in batch:
                _settle(job, error)
        finally:
            self._num_running -= 1
            self._advance()

    def _measure(self, batch: list[_Job[Answer]]) -> None:
        """The time since the batch before, or since the oldest of these images came, where the model was idle."""
        now = time.monotonic()
        seconds = (now - max(self._last_end, min(job.since for job in batch))) / len(batch)
        self._last_end = now
        earlier = self.seconds_per_image
        self.seconds_per_image = seconds if earlier is None else earlier + _SMOOTHING * (seconds - earlier)


def _shape(job: _Job[Any]) -> tuple[int, ...]:
    return () if job.prepared is None else job.prepared.shape


def _num_bytes(job: _Job[Any]) -> int:
    return 0 if job.prepared is None else job.prepared.nbytes


def _settle(job: _Job[Answer], answer: Answer | Exception) -> None:
    if job.answer.done():  # nobody waits for it any more
        return
    if isinstance(answer, Exception):
        job.answer.set_exception(answer)
    else:
        job.answer.set_result(answer)
