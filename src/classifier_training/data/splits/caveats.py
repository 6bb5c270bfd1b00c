"""What is questionable about the splits of a run: leaks, copies, contradictions, classes that a split lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.splits.together import digest_words, group_codes
from classifier_training.errors import DataError
from classifier_training.files.text import name_some
from classifier_training.types import SPLITS, OnGroupOverlap, Split

if TYPE_CHECKING:  # scoring an ONNX file has no pyarrow perhaps
    from classifier_training.data.index.table import Index

Rows = NDArray[np.int64]
_MAX_COMPARED: Final = 1_000_000


def split_warnings(index: Index, splits: Mapping[Split, Rows], classes: Sequence[str]) -> list[str]:
    """Classes that a split lacks, photos that leak from one split into a score on another, and copies."""
    warnings = []
    words = {split: digest_words(index.digests[rows]) for split, rows in splits.items()}
    pairs: tuple[tuple[Split, Split], ...] = (("val", "train"), ("test", "train"), ("test", "val"))
    for split, other in pairs:
        if split not in splits or other not in splits:
            continue
        rows = splits[split]
        if other == "train":
            missing = sorted(set(classes) - {index.label_names[code] for code in np.unique(index.labels[rows])})
            if missing:
                warnings.append(f"no {split} images of class {name_some(map(repr, missing))}")
        leaked = rows[np.isin(words[split], words[other])]
        if len(leaked):
            first = name_some(str(index.record(row)) for row in leaked)
            warnings.append(f"{len(leaked)} {split} image(s) are also in {other}, byte for byte: {first}")
    rows = np.unique(np.concatenate(list(splits.values())))  # the final model's validation photos are in two splits
    codes = index.splits[rows]
    for split, some in splits.items():  # those of the run, which need not be those of the source
        codes = np.where(np.isin(rows, some, assume_unique=True), SPLITS.index(split), codes)
    return warnings + copy_warnings(
        index.digests[rows],
        index.labels[rows],
        index.label_names,
        lambda position: str(index.record(int(rows[position]))),
        codes,
    )


def copy_warnings(
    digests: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    names: Sequence[str],
    path: Callable[[int], str],
    splits: NDArray[np.integer[Any]] | None = None,
) -> list[str]:
    """Images of equal content under several labels, and images that are listed several times.

    Args:
        digests: uint8 (N, 16), content hashes.
        labels: int (N,), positions in ``names``.
        names: The class names.
        path: Gives the path of an image by its position.
        splits: int (N,); the same image in two of them is not counted here; None: all are in one.
    """
    words = digest_words(digests)
    order = np.argsort(words, kind="stable")
    starts = np.flatnonzero(np.diff(words[order], prepend=words[order[:1]] + np.uint64(1)))
    counts = np.diff(starts, append=len(order))
    if not len(order) or counts.max() == 1:
        return []
    of_set = np.repeat(np.arange(len(starts)), counts)
    low, high = (reduce.reduceat(labels[order], starts) for reduce in (np.minimum, np.maximum))
    mixed = np.sort(order[(low != high)[of_set]])
    warnings = []
    if len(mixed):
        first = name_some(f"{path(int(row))} ({names[labels[row]]!r})" for row in mixed)
        num_contents = int((low != high).sum())
        warnings.append(
            f"{len(mixed)} image(s) have one content under several labels ({num_contents} different image(s)): {first}"
        )
    again = _listed_again(np.sort(order[(counts > 1)[of_set]]), labels, path, splits)
    if again:
        warnings.append(
            f"{len(again)} image(s) are listed again with the same label, and count again: {name_some(again)}"
        )
    return warnings


def _listed_again(
    rows: Rows,
    labels: NDArray[np.integer[Any]],
    path: Callable[[int], str],
    splits: NDArray[np.integer[Any]] | None,
) -> list[str]:
    """The paths among those of equal content that were there before, with the same label and in the same split."""
    seen: set[tuple[str, int, int]] = set()
    again: list[str] = []
    for row in rows[:_MAX_COMPARED].tolist():
        one = path(row)
        key = (one, int(labels[row]), 0 if splits is None else int(splits[row]))
        if key in seen:
            again.append(one)
        seen.add(key)
    return again


def group_warnings(index: Index, splits: Mapping[Split, Rows], policy: OnGroupOverlap) -> list[str]:
    """Groups that are in several splits, which only a source that gives splits can bring about.

    Raises:
        DataError: There are some, and the policy does not allow them.
    """
    groups = index.groups()
    if groups is None:
        return []
    codes, names = group_codes(groups)
    in_splits = {split: np.unique(codes[rows]) for split, rows in splits.items()}
    found = {}
    pairs: tuple[tuple[Split, Split], ...] = (("train", "val"), ("train", "test"), ("val", "test"))
    for split, other in pairs:
        if split in in_splits and other in in_splits:
            shared = np.intersect1d(in_splits[split], in_splits[other])
            found.update({names[code]: f"{names[code]!r} in {split} and {other}" for code in shared if code >= 0})
    if not found:
        return []
    message = f"{len(found)} group(s) are in two given splits: {name_some(found[name] for name in sorted(found))}"
    if policy == "raise":
        raise DataError(f"{message}; put each into one of them, or allow it with data.on_group_overlap=warn")
    return [message]
