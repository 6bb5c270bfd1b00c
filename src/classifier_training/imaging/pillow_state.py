"""What Pillow keeps for the whole process, lent to one thread: the limit of pixels, and whether warnings are shown.

A small file can hold an image that fills the memory; a user's screen is not for Pillow's warnings.
"""

from __future__ import annotations

import contextlib
import math
import threading
import warnings
from collections.abc import Iterator
from typing import Any, cast

from PIL import Image

from classifier_training.imaging.library_messages import hold_messages, release_messages

_lock = threading.Lock()
_limits: list[int] = []
_pillows_own: int | None = None
_num_inside = 0
_filter: Any = None
_held: Any = None


class TooManyPixelsError(ValueError):
    """An image is larger than allowed."""


@contextlib.contextmanager
def pixel_limit(max_pixels: int | None) -> Iterator[None]:
    """Lets Pillow open images of up to ``max_pixels``, in whichever thread, until the last one has left the block.

    Pillow's limit is a variable of the process. It is put back, because it may be somebody else's.

    Args:
        max_pixels: None leaves Pillow's own limit as it is.

    Raises:
        TooManyPixelsError: Pillow refused an image as too large.
    """
    try:
        with contextlib.nullcontext() if max_pixels is None else _lent(max_pixels):
            yield
    except Image.DecompressionBombError:
        raise _too_many(max_pixels) from None


def has_too_many_pixels(size: tuple[int, int], max_pixels: int | None) -> bool:
    """Whether an image of this width and height is larger than allowed; None: than Pillow allows."""
    return size[0] * size[1] > (_allowed_by_pillow() if max_pixels is None else max_pixels)


def refuse_too_many_pixels(size: tuple[int, int], max_pixels: int | None) -> None:
    """Refuses what `has_too_many_pixels`: Pillow's own limit is even, so one pixel too many could pass.

    Raises:
        TooManyPixelsError: It has.
    """
    if has_too_many_pixels(size, max_pixels):
        raise _too_many(max_pixels)


@contextlib.contextmanager
def _lent(max_pixels: int) -> Iterator[None]:
    global _pillows_own
    with _lock:
        if not _limits:
            _pillows_own = Image.MAX_IMAGE_PIXELS
        _limits.append(max_pixels)
        Image.MAX_IMAGE_PIXELS = math.ceil(max(_limits) / 2)  # what has more than twice as many is refused
    try:
        yield
    finally:
        with _lock:
            _limits.remove(max_pixels)
            Image.MAX_IMAGE_PIXELS = math.ceil(max(_limits) / 2) if _limits else _pillows_own


def _allowed_by_pillow() -> float:
    return math.inf if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS


def _too_many(max_pixels: int | None) -> TooManyPixelsError:
    if max_pixels is None:
        return TooManyPixelsError(f"it has more than {_allowed_by_pillow()} pixels, the safe limit of Pillow")
    return TooManyPixelsError(
        f"it has more than {max_pixels} pixels; raise data.max_image_pixels if it is not a decompression bomb"
    )


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Ignores warnings of Pillow and messages of its libraries, in any thread, until the last one has left the block.

    ``warnings.catch_warnings`` saves and restores the process's whole filter list, so two threads whose blocks
    overlap can leave each other's filters behind for good. This adds and removes one entry and touches no other.
    """
    global _num_inside, _filter, _held
    with _lock:
        if _num_inside == 0:
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _filter = warnings.filters[0]
            _held = hold_messages()
        _num_inside += 1
    try:
        yield
    finally:
        with _lock:
            _num_inside -= 1
            if _num_inside == 0:
                release_messages(_held)
                # Somebody else may have put back an older list meanwhile; then the entry is gone already.
                with contextlib.suppress(ValueError):
                    cast("list[Any]", warnings.filters).remove(_filter)
