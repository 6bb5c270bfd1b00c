"""Decodes images in a few threads while the model is busy with the ones before."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import BadImageError
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.preprocess import preprocess
from classifier_training.types import ImageRecord, Preprocessing

# Pillow lets go of the interpreter while it decodes and resizes; more threads would only take the model's cores.
_MAX_THREADS = 4


def read_ahead(
    paths: Sequence[str | Path | ImageRecord], preprocessing: Preprocessing, num_ahead: int
) -> Iterator[NDArray[np.float32] | BadImageError]:
    """Yields every image as the model's input, in order, or the error that it gave.

    Args:
        paths: Files.
        preprocessing: How an image becomes the input.
        num_ahead: Number of images to decode before they are asked for; bounds the memory.

    Yields:
        float32 (3, S, S), or what is wrong with that file.
    """
    executor = ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1), thread_name_prefix="decode")
    waiting: deque[Future[NDArray[np.float32] | BadImageError]] = deque()
    try:
        for path in paths:
            waiting.append(executor.submit(_read, path, preprocessing))
            if len(waiting) > num_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _read(path: str | Path | ImageRecord, preprocessing: Preprocessing) -> NDArray[np.float32] | BadImageError:
    try:
        return preprocess(decode_image(path), preprocessing)
    except BadImageError as error:
        return error
