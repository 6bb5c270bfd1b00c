"""Splits photos by their content, so that a photo's split never depends on any other photo."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier_training.types import SPLITS, Split

TRAIN, VAL, TEST = (SPLITS.index(split) for split in SPLITS)


def split_of_content(digest: str, *, val_fraction: float, test_fraction: float, seed: int) -> Split:
    """The split of one photo, a pure function of its bytes and the seed.

    A hash of content and seed gives a number u, uniform in [0, 1): u < test_fraction is the test split, the next
    val_fraction is validation, the rest trains. Each class is split in these proportions in expectation; adding or
    removing photos moves no other, and identical photos always share a split.

    Args:
        digest: Content hash of the file, hexadecimal.
        val_fraction: Share of validation, in [0, 1).
        test_fraction: Share of the test, in [0, 1).
        seed: The run's seed.
    """
    position = _position(digest, seed)
    if position < test_fraction:
        return "test"
    return "val" if position < test_fraction + val_fraction else "train"


def split_by_content(
    labels: NDArray[np.integer[Any]], positions: NDArray[np.float64], *, val_fraction: float, test_fraction: float
) -> NDArray[np.int8]:
    """Splits photos as `split_of_content` does; of a class without a training photo, the nearest to it trains.

    Args:
        labels: int (N,), the class of each photo, ≥ 0.
        positions: float64 (N,) of `split_positions`.
        val_fraction: Share of validation.
        test_fraction: Share of the test.

    Returns:
        int8 (N,), positions in `SPLITS`.
    """
    splits = np.full(len(labels), TRAIN, np.int8)
    splits[positions < test_fraction + val_fraction] = VAL
    splits[positions < test_fraction] = TEST
    nearest = np.zeros(int(labels.max(initial=-1)) + 1)
    np.maximum.at(nearest, labels, positions)
    # the photo of its class that is nearest to training trains in any case, and so do its copies
    splits[positions == nearest[labels]] = TRAIN
    return splits


def split_positions(digests: NDArray[np.uint8], seed: int) -> NDArray[np.float64]:
    """Where each photo lies between the test (0) and training (1).

    Args:
        digests: uint8 (N, 16), content hashes; or hashes of what must stay together.
        seed: The run's seed.

    Returns:
        float64 (N,), in [0, 1).
    """
    text, width = digests.tobytes().hex(), 2 * digests.shape[1]
    count = len(digests)
    return np.fromiter((_position(text[i * width : (i + 1) * width], seed) for i in range(count)), np.float64, count)


def _position(digest: str, seed: int) -> float:
    """Uniform in [0, 1)."""
    value = hashlib.blake2b(f"{seed}:{digest}".encode(), digest_size=8).digest()
    return int.from_bytes(value, "big") / 2**64
