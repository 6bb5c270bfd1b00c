"""Batches that are computed in parts where memory runs out, as nothing depends on which images are computed together.

This is for a model that answers. In a step of a training the parts of a batch would be other batches.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

from classifier_training.errors import is_out_of_memory

T = TypeVar("T")


class Halving:
    """Computes batches in parts of half as many images whenever memory runs out, and warns of it once.

    Args:
        task: What is done, for the warning, such as ``scoring``.

    Attributes:
        most: Images of a part, at most; None: memory has not run out yet.

    Example:
        >>> Halving("scoring")(lambda part: [1, 2, 3][part], 3)
        [[1, 2, 3]]
    """

    def __init__(self, task: str) -> None:
        self.task = task
        self.most: int | None = None
        self._first: int | None = None  # the size of the batch that was too large, until the warning

    def __call__(self, compute: Callable[[slice], T], size: int) -> list[T]:
        """What ``compute`` gives for the parts of a batch of ``size`` images, in order; usually there is one.

        Raises:
            Exception: What ``compute`` raises; of memory, that for a single image.
        """
        parts: list[T] = []
        start = 0
        while not parts or start < size:
            stop = min(size, start + (self.most or size))
            part = self._try(compute, start, stop)
            if part is not None:
                parts.append(part[0])
                start = stop
        self._warn()
        return parts

    def _try(self, compute: Callable[[slice], T], start: int, stop: int) -> tuple[T] | None:
        """A part; None: memory has run out, and the next one is to be smaller."""
        try:
            return (compute(slice(start, stop)),)
        except Exception as error:
            if stop - start <= 1 or not is_out_of_memory(error):
                raise
        self._first = self._first or stop - start
        self.most = (stop - start) // 2
        return None

    def _warn(self) -> None:
        if self._first is not None:
            warnings.warn(
                f"out of memory while {self.task} {self._first} images at once: going on with {self.most} at once,"
                " which changes no score",
                stacklevel=3,
            )
            self._first = None
