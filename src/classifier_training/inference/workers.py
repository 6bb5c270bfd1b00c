"""Work that is spread over threads, its results in the order of the work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD: Final = 2
"""Chunks for each thread that are begun before the first of them is taken, so that no thread waits for a slow one."""


def in_order(work: Callable[[Item], Result], items: Iterable[Item], num_threads: int) -> Iterator[Result]:
    """What ``work`` gives for each item, in order, computed by several threads and only so far ahead.

    Raises:
        Exception: What ``work`` raises, when its turn has come.
    """
    executor = ThreadPoolExecutor(num_threads, thread_name_prefix="predict")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(work, item))
            if len(waiting) >= _AHEAD * num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of ``size``; the last one may be shorter."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
