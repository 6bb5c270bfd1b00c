"""Which photos must be in one split: those of one group, and copies of one photo, whatever their labels."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 16


def digest_words(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first half of each content hash; 64 bits distinguish a billion images."""
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64).ravel()


def group_digest(group: str) -> NDArray[np.uint8]:
    """What stands for a group's name where a content hash stands for a photo alone: uint8 (16,)."""
    return np.frombuffer(hashlib.blake2b(group.encode(), digest_size=DIGEST_BYTES).digest(), np.uint8)


def group_codes(groups: list[str | None]) -> tuple[NDArray[np.int64], list[str]]:
    """int64 (N,), position of each group's name, -1 for none; and the names."""
    names: dict[str, int] = {}
    codes = [-1 if group is None else names.setdefault(group, len(names)) for group in groups]
    return np.array(codes, np.int64), list(names)


def joined_positions(
    positions: NDArray[np.float64], digests: NDArray[np.uint8], groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    """One position for each set of photos that are joined by groups and copies, directly or through others.

    The set has the smallest position of its groups, or that of its content where it has no group. So a new photo of a
    group moves no other photo, unless it is a copy of a photo outside, which then joins the group.

    Args:
        positions: float64 (N,), of each photo's group, or of its content where it has none.
        digests: uint8 (N, 16), content hashes.
        groups: int64 (N,), -1 for a photo without a group.
    """
    contents = np.unique(digest_words(digests), return_inverse=True)[1].reshape(-1)
    alone = groups < 0
    # a photo without a group is the only one of its own
    of_group = np.where(alone, np.cumsum(alone) - 1 + groups.max(initial=-1) + 1, groups)
    sets = np.arange(len(positions))
    while True:  # as often as groups are joined one behind the other
        before = sets
        for keys in (contents, of_group):
            sets = _smallest(sets, keys)[keys]
        if (sets == before).all():
            break
    of_groups = _smallest(np.where(alone, np.inf, positions), sets)[sets]
    return np.where(np.isfinite(of_groups), of_groups, _smallest(positions, sets)[sets])


def _smallest(values: NDArray[Any], keys: NDArray[np.integer[Any]]) -> NDArray[Any]:
    """The smallest value of each key."""
    largest = np.inf if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    found = np.full(int(keys.max(initial=-1)) + 1, largest, values.dtype)
    np.minimum.at(found, keys, values)
    return found
