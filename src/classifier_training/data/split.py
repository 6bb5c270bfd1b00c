"""Splits photos by their content, so that a photo's split never depends on any other photo."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from classifier_training.data.sources.listing import Split
from classifier_training.types import Sample


def split_of_content(digest: str, *, val_fraction: float, test_fraction: float, seed: int) -> Split:
    """The split of one photo, a pure function of its bytes and the seed.

    A hash of content and seed gives a number u, uniform in [0, 1): u < test_fraction is the test split, the next
    val_fraction is validation, the rest trains. Each class is split in these proportions in expectation; adding or
    removing photos moves no other, and identical photos always share a split.

    Args:
        digest: Content hash of the file.
        val_fraction: Share of validation, in [0, 1).
        test_fraction: Share of the test, in [0, 1).
        seed: The run's seed.
    """
    position = _position(digest, seed)
    if position < test_fraction:
        return "test"
    return "val" if position < test_fraction + val_fraction else "train"


def split_by_content(
    samples: Sequence[Sample], digests: Sequence[str], *, val_fraction: float, test_fraction: float, seed: int
) -> dict[Split, list[Sample]]:
    """Splits samples by `split_of_content`; of a class that would have no training photo, the nearest to it trains.

    Args:
        samples: The photos.
        digests: Their content hashes, in the same order.
        val_fraction: Share of validation.
        test_fraction: Share of the test; with 0 there is no test split.
        seed: The run's seed.
    """
    nearest: dict[str, float] = {}
    for sample, digest in zip(samples, digests, strict=True):
        nearest[sample.label] = max(_position(digest, seed), nearest.get(sample.label, 0.0))
    splits: dict[Split, list[Sample]] = {"train": [], "val": [], **({"test": []} if test_fraction else {})}
    for sample, digest in zip(samples, digests, strict=True):
        split = split_of_content(digest, val_fraction=val_fraction, test_fraction=test_fraction, seed=seed)
        # the photo of its class that is nearest to training trains in any case, and so do its copies
        splits["train" if _position(digest, seed) == nearest[sample.label] else split].append(sample)
    return splits


def _position(digest: str, seed: int) -> float:
    """Uniform in [0, 1)."""
    value = hashlib.blake2b(f"{seed}:{digest}".encode(), digest_size=8).digest()
    return int.from_bytes(value, "big") / 2**64
