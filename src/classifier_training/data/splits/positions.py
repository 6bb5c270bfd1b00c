"""Which split a photo is in: by a position that its content, or its group, and the seed decide."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.index.table import Index
from classifier_training.data.splits.caveats import Rows
from classifier_training.data.splits.together import group_codes, group_digest, joined_positions
from classifier_training.types import SPLITS

TRAIN, VAL, TEST = (SPLITS.index(split) for split in SPLITS)


def positions_of(index: Index, rows: Rows, seed: int, rule: int) -> NDArray[np.float64]:
    """float64 (N,), the position of some rows; those that must stay together have the same one.

    Args:
        index: All images.
        rows: Some of them.
        seed: Of the run.
        rule: `make.SPLIT_RULE`, or that of the version that a run was started with.
    """
    digests, groups = index.digests[rows], index.groups()
    keys = digests
    if groups is not None:  # a group's name decides instead of its images' contents
        codes, names = group_codes([groups[row] for row in rows])
        of_groups = np.array([group_digest(name) for name in names]).reshape(-1, digests.shape[1])
        keys = digests.copy()
        keys[codes >= 0] = of_groups[codes[codes >= 0]]
    positions = split_positions(keys, seed)
    if groups is not None and rule > 1:
        positions = joined_positions(positions, digests, codes)
    return positions


def split_by_content(
    labels: NDArray[np.integer[Any]],
    positions: NDArray[np.float64],
    *,
    val_fraction: float,
    test_fraction: float,
    whole_sets: bool = True,
) -> NDArray[np.int8]:
    """Splits photos by their positions: below test_fraction is the test, the next val_fraction is validation.

    Each class is split in these proportions in expectation; adding or removing photos moves no other, and photos of one
    position always share a split. Of a class without a training photo, the nearest to it trains, and with it all photos
    of its position, whatever their class: so only photos of a class that is as small as that can move with another.

    Args:
        labels: int (N,), the class of each photo, ≥ 0.
        positions: float64 (N,) of `split_positions`.
        val_fraction: Share of validation, in [0, 1).
        test_fraction: Share of the test, in [0, 1).
        whole_sets: False: only those of its own class train with it, as up to `SPLIT_RULE` 1.

    Returns:
        int8 (N,), positions in `SPLITS`.
    """
    splits = np.full(len(labels), TRAIN, np.int8)
    splits[positions < test_fraction + val_fraction] = VAL
    splits[positions < test_fraction] = TEST
    nearest = np.zeros(int(labels.max(initial=-1)) + 1)
    np.maximum.at(nearest, labels, positions)
    # the photo of its class that is nearest to training trains in any case, and so does what stays together with it
    is_nearest = positions == nearest[labels]
    splits[np.isin(positions, positions[is_nearest & (splits != TRAIN)]) if whole_sets else is_nearest] = TRAIN
    return splits


def split_positions(digests: NDArray[np.uint8], seed: int) -> NDArray[np.float64]:
    """Where each photo lies between the test (0) and training (1): a pure function of its bytes and the seed.

    Args:
        digests: uint8 (N, 16), content hashes; or hashes of what must stay together.
        seed: The run's seed.

    Returns:
        float64 (N,), uniform in [0, 1).
    """
    text, width = digests.tobytes().hex(), 2 * digests.shape[1]
    parts = (text[start : start + width] for start in range(0, len(text), width))
    hashes = (hashlib.blake2b(f"{seed}:{part}".encode(), digest_size=8).digest() for part in parts)
    return np.fromiter((int.from_bytes(value, "big") / 2**64 for value in hashes), np.float64, len(digests))
