"""Fills an image cache before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.cache.image_cache import ImageCache
from classifier_training.types import Progress

_AT_ONCE: Final = 1024  # how many images are waiting for a thread: few, so that millions take no memory


def fill_cache(
    cache: ImageCache,
    make: Callable[[int], NDArray[np.uint8]],
    progress: Progress | None = None,
    num_threads: int | None = None,
) -> int:
    """Stores every image that is not stored yet; an interrupted filling continues where it stopped.

    It ends early where the cache takes no more; `ImageCache.new_warnings` explains why.

    Args:
        cache: What is filled.
        make: Gives the image of a position, uint8 (H, W, 3), in its stored size; called in threads. When it
            raises, what was stored before is kept.
        progress: Reports how many images are done, of how many.
        num_threads: None: one for each core.

    Returns:
        How many images were made.
    """

    def fill(position: int) -> bool:
        # read, not only looked up: a damaged image is rebuilt, and one of an earlier cache taken over
        if cache.get(position) is not None:
            return False
        cache.put(position, make(position))
        return True

    positions = cache.storable()
    made = done = 0
    with ThreadPoolExecutor(num_threads or os.cpu_count() or 1) as pool:
        for start in range(0, len(positions), _AT_ONCE):
            if cache.marks.error:
                break
            for was_made in pool.map(fill, positions[start : start + _AT_ONCE].tolist()):
                made, done = made + was_made, done + 1
                if progress is not None:
                    progress(done, len(positions))
    return made
