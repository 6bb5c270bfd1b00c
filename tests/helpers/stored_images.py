"""Lists of images for caches, and pixels that follow from an image's content hash."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.cache.image_cache import ImageCache
from classifier_training.data.cache.marks import CacheMarks
from classifier_training.data.cache.slots import ImageList, StoredForm, stored_size
from classifier_training.data.cache.store import make_cache


def make_list(
    count: int = 8,
    *,
    seed: int = 0,
    short_side: int | None = 32,
    role: Literal["train", "evaluation"] = "train",
    sides: tuple[int, int] = (20, 90),
) -> ImageList:
    """Images of different sizes; one seed gives one list, and the start of a longer one.

    Args:
        count: How many.
        seed: Of the content hashes and sizes.
        short_side: As in `StoredForm`.
        role: As in `StoredForm`.
        sides: Smallest and largest side, pixels.
    """
    rows = [np.random.default_rng((seed, number)) for number in range(count)]
    sizes = np.array([row.integers(*sides, 2, endpoint=True) for row in rows], np.uint16).reshape(-1, 2)
    digests = np.array([row.integers(0, 256, 16, np.uint8) for row in rows], np.uint8).reshape(-1, 16)
    return ImageList(digests, sizes[:, 0], sizes[:, 1], StoredForm(role, short_side, "bicubic", "test"))


def image_of(images: ImageList, position: int) -> NDArray[np.uint8]:
    """uint8 (H, W, 3), noise that follows from the content hash."""
    size = int(images.widths[position]), int(images.heights[position])
    width, height = stored_size(*size, images.form.short_side)
    return np.random.default_rng(images.digests[position].tolist()).integers(0, 256, (height, width, 3), np.uint8)


def make_image_cache(folder: Path, images: ImageList, room: int | None = None) -> ImageCache:
    """A cache of its own, in ``folder / "cache"``, with shared marks beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    make_cache(folder / "cache", images, images.num_bytes if room is None else room)
    return ImageCache(folder / "cache", CacheMarks.create(folder / "marks", len(images)))


def store_all(cache: ImageCache, images: ImageList) -> None:
    """Puts every image into a cache."""
    for position in range(len(images)):
        cache.put(position, image_of(images, position))


def valid_positions(cache: ImageCache, images: ImageList) -> list[int]:
    """The positions that the cache gives, each compared with what it should be.

    Raises:
        AssertionError: One of them is another image.
    """
    found = []
    for position in range(len(images)):
        pixels = cache.get(position)
        if pixels is not None:
            np.testing.assert_array_equal(pixels, image_of(images, position))
            found.append(position)
    return found


def num_bytes_below(folder: Path) -> int:
    """What all files below a folder take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
