"""Reads every image once before training: whether it is one, its size and its content hash.

A broken file found here costs one line; found in the last epoch it costs the run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import BadImageError, DataError
from classifier_training.files.text import name_some
from classifier_training.imaging.decode import DEFAULT, check_image, read_image_bytes
from classifier_training.types import Decoding, ImageRecord, OnBadImage, Progress, file_stamp, identity_stamp

DIGEST_BYTES: Final = 16
MODES: Final = (
    "other", "RGB", "L", "RGBA", "CMYK", "P", "1", "I;16", "I;16B", "I;16L", "I", "F", "LA", "PA", "RGBX", "YCbCr",
    "LAB", "HSV",
)  # fmt: skip
"""Pillow's names of pixel formats; an index holds positions in it, so new ones come last."""
_MODE_CODES: Final = {mode: code for code, mode in enumerate(MODES)}
_MAX_SIDE: Final = 65_535
_RECORDS_PER_TASK: Final = 64


@dataclass(frozen=True, slots=True)
class Facts:
    """What N images are, as columns.

    Attributes:
        digests: uint8 (N, 16), content hashes; zero where it is not an image.
        widths: uint16 (N,), of the upright image, pixels, at most 65535; 0 where it is not an image.
        heights: uint16 (N,), likewise.
        stamps: uint32 (N,), `file_stamp` of each image's file; 0 where the file is missing.
        identities: uint32 (N,), `identity_stamp` of each image's file; 0 where the file is missing.
        modes: uint8 (N,), positions in `MODES`; 0 also where it is not an image.
        flat: uint8 (N,), 1 where a transparent or deep image is decoded to (nearly) one colour.
        errors: Why a file is not an image, by position; names the file.
    """

    digests: NDArray[np.uint8]
    widths: NDArray[np.uint16]
    heights: NDArray[np.uint16]
    stamps: NDArray[np.uint32]
    identities: NDArray[np.uint32]
    modes: NDArray[np.uint8]
    flat: NDArray[np.uint8]
    errors: dict[int, str]

    @classmethod
    def empty(cls, count: int) -> Facts:
        """Facts to be filled in."""
        return cls(
            np.zeros((count, DIGEST_BYTES), np.uint8),
            np.zeros(count, np.uint16),
            np.zeros(count, np.uint16),
            np.zeros(count, np.uint32),
            np.zeros(count, np.uint32),
            np.zeros(count, np.uint8),
            np.zeros(count, np.uint8),
            {},
        )


@dataclass(frozen=True, slots=True)
class BadImage:
    """A file that was left out, and why it is not an image, which names the file."""

    path: str
    reason: str


def inspect_records(
    records: Sequence[ImageRecord],
    progress: Progress | None = None,
    known: Callable[[int, int], bool] | None = None,
    into: Facts | None = None,
    *,
    decoding: Decoding = DEFAULT,
) -> Facts:
    """Reads and checks images in parallel.

    Args:
        records: Where they are.
        progress: Reports the progress.
        known: Given a position and the stamp of its file, whose identity is in ``into``: whether ``into`` holds the
            facts of that image already.
        into: Facts to complete; None: all are missing.
        decoding: What to do about large, transparent and deep images.
    """
    facts = into or Facts.empty(len(records))
    size = max(1, min(_RECORDS_PER_TASK, len(records) // 1000))

    def inspect_some(first: int) -> int:
        stop = min(first + size, len(records))
        for position in range(first, stop):
            _inspect(records[position], position, facts, known, decoding)
        return stop

    # decoding releases the interpreter lock, so threads use all cores and nothing is pickled
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for done in pool.map(inspect_some, range(0, len(records), size)):
            if progress is not None:
                progress(done, len(records))
    return replace(facts, errors=dict(sorted(facts.errors.items())))


def check_bad(bad: Sequence[BadImage], num_images: int, policy: BadImagePolicy) -> None:
    """Refuses broken files where they may not be skipped, or too many of them.

    Raises:
        DataError: The policy does not allow them.
    """
    if not bad:
        return
    reasons = name_some(image.reason for image in bad)
    if policy.on_bad_image == "raise":
        raise DataError(
            f"{len(bad)} file(s) are not readable images: {reasons}; repair or remove them, or set"
            " data.on_bad_image=skip"
        )
    if len(bad) > policy.max_bad_fraction * num_images and len(bad) < num_images:
        raise DataError(
            f"{len(bad)} of {num_images} files are not readable images, more than"
            f" data.max_bad_fraction={policy.max_bad_fraction:g} allows: {reasons}; repair them, or raise it"
        )


@dataclass(frozen=True, slots=True)
class BadImagePolicy:
    """What to do about files that are not images.

    Attributes:
        on_bad_image: Stop, or leave them out.
        max_bad_fraction: Share of all files that may be left out.
    """

    on_bad_image: OnBadImage = "raise"
    max_bad_fraction: float = 1.0


def bad_images(records: Sequence[ImageRecord], errors: Mapping[int, str]) -> tuple[BadImage, ...]:
    """The broken files, in their order."""
    return tuple(BadImage(str(records[position]), reason) for position, reason in errors.items())


def _inspect(
    record: ImageRecord,
    position: int,
    facts: Facts,
    known: Callable[[int, int], bool] | None,
    decoding: Decoding,
) -> None:
    try:
        stamp, facts.identities[position] = current_stamps(record.path)
        if known is not None and known(position, stamp):
            return
        facts.stamps[position] = stamp
        content = read_image_bytes(record)
        (width, height), mode, is_flat = check_image(content, str(record), decoding=decoding)
    except BadImageError as error:
        facts.errors[position] = str(error)
        return
    facts.widths[position], facts.heights[position] = min(width, _MAX_SIDE), min(height, _MAX_SIDE)
    facts.modes[position], facts.flat[position] = _MODE_CODES.get(mode, 0), is_flat
    facts.digests[position] = content_digest(content)


def content_digest(content: bytes) -> NDArray[np.uint8]:
    """uint8 (16,), the content hash of a file."""
    return np.frombuffer(hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest(), np.uint8)


def current_stamps(path: str) -> tuple[int, int]:
    """Stamp and identity of a file; 0 for a missing file, which reading it reports better."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path for each of a million files takes seconds
    except (OSError, ValueError):  # a name with a NUL in it is a ValueError
        return 0, 0
    return file_stamp(status), identity_stamp(status)
