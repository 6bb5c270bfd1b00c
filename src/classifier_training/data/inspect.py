"""Reads every file once before training: is it a picture, and what is its content hash?

A broken file found here costs a line; found in the last epoch it costs the run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from classifier_training.errors import BadImageError, DataError
from classifier_training.imaging.decode import check_image

NUM_NAMED: Final = 3
"""How many offenders a message names before it only counts."""

Progress = Callable[[int, int], None]
"""Called with the number of files done and the number of all files."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What one file holds.

    Attributes:
        digest: Content hash, 32 hexadecimal digits; empty for a file that is no picture.
        error: Why it is no picture; None for a good one.
    """

    digest: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class BadImage:
    """A file that was left out.

    Attributes:
        path: The file.
        reason: Why it is no picture; names the file.
    """

    path: str
    reason: str


def inspect_files(paths: Iterable[str], progress: Progress | None = None) -> dict[str, FileFacts]:
    """Reads and checks files in parallel.

    Args:
        paths: The files; one that is named twice is read once.
        progress: Told how far it is, after each file.

    Returns:
        The facts of each file, in the order of ``paths``.
    """
    distinct = list(dict.fromkeys(paths))
    facts: dict[str, FileFacts] = {}
    # decoding releases the interpreter lock, so threads use all cores and nothing is pickled
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for path, fact in zip(distinct, pool.map(_inspect, distinct), strict=True):
            facts[path] = fact
            if progress is not None:
                progress(len(facts), len(distinct))
    return facts


def bad_images(facts: Mapping[str, FileFacts], on_bad_image: Literal["raise", "skip"]) -> tuple[BadImage, ...]:
    """The broken files.

    Raises:
        DataError: There are some, and they are not to be skipped.
    """
    bad = tuple(BadImage(path, fact.error) for path, fact in facts.items() if fact.error is not None)
    if bad and on_bad_image == "raise":
        reasons = name_some(image.reason for image in bad)
        raise DataError(
            f"{len(bad)} file(s) are no readable pictures: {reasons}; mend or remove them, or set"
            " data.on_bad_image=skip"
        )
    return bad


def count_up(progress: Progress | None, total: int) -> Callable[[int], None] | None:
    """Turns "n more are done" into "this many of all are done"."""
    if progress is None:
        return None
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return advance


def name_some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - NUM_NAMED} more" if len(listed) > NUM_NAMED else ""
    return ", ".join(listed[:NUM_NAMED]) + more


def _inspect(path: str) -> FileFacts:
    try:
        check_image(path)
    except BadImageError as error:
        return FileFacts("", str(error))
    return FileFacts(hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest())
