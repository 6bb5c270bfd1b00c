"""Splits an index for a run, and checks that they can be trained and scored on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.index.table import Index
from classifier_training.data.sources.listing import NO_SPLIT
from classifier_training.errors import DataError
from classifier_training.files.atomic import atomic_path
from classifier_training.files.text import name_some
from classifier_training.types import SPLITS, Split

Rows = NDArray[np.int64]
MIN_ROWS_STORED: Final = 100_000
"""From this many images on, splitting takes long enough to keep the result."""
TRAIN, VAL, TEST = (SPLITS.index(split) for split in SPLITS)


@dataclass(frozen=True, slots=True)
class Splits:
    """The splits of a run.

    Attributes:
        rows: The good images of each split, as rows of the index.
        classes: Class names of the training split, lexicographic.
        notes: How the splits were made, where the source did not define them.
        warnings: What the user should know.
        fingerprint: Hash over every image's content, label and split.
        order: Hash over the training images' contents in their order.
    """

    rows: Mapping[Split, Rows]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    fingerprint: str
    order: str


def make_splits(index: Index, root: str, val_fraction: float, test_fraction: float, seed: int) -> Splits:
    """Splits the good images of an index, whose ``root`` is for messages; the shares count where no split is given.

    Raises:
        DataError: No images to train or to validate on, one class only, or a class that training lacks.
    """
    if len(index) < MIN_ROWS_STORED:
        return _make(index, root, val_fraction, test_fraction, seed)
    key = [index.metadata.get("made_at_ns"), val_fraction, test_fraction, seed]
    name = hashlib.blake2b(json.dumps(key).encode(), digest_size=8).hexdigest()
    path = index.path.with_name(f"{index.path.stem}.{name}.splits.npz")
    stored = _read(path)
    if stored is None:
        stored = _make(index, root, val_fraction, test_fraction, seed)
        _write(path, stored)
    return stored


def _make(index: Index, root: str, val_fraction: float, test_fraction: float, seed: int) -> Splits:
    splits, notes = _split(index, val_fraction, test_fraction, seed)
    classes = _classes(index, splits, root)
    lost = sorted(set(index.label_names) - set(classes))
    lost_classes = [f"class {name!r} has no image that can be read; the class is left out" for name in lost]
    return Splits(
        rows=splits,
        classes=classes,
        notes=tuple(notes),
        warnings=(*lost_classes, *_split_warnings(index, splits, classes)),
        fingerprint=_fingerprint(index, splits),
        order=_hash(index.digests[splits["train"]]),
    )


def _write(path: Path, splits: Splits) -> None:
    about = {name: value for name, value in asdict(splits).items() if name != "rows"}
    arrays: dict[str, NDArray[Any]] = {split: rows.astype(np.uint32) for split, rows in splits.rows.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]  # of its own options


def _read(path: Path) -> Splits | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            rows = {split: file[split].astype(np.int64) for split in SPLITS if split in file}
    except (OSError, ValueError, KeyError):
        return None
    lists = {name: tuple(about[name]) for name in ("classes", "notes", "warnings")}
    return Splits(rows=rows, fingerprint=about["fingerprint"], order=about["order"], **lists)


def _split(index: Index, val_fraction: float, test_fraction: float, seed: int) -> tuple[dict[Split, Rows], list[str]]:
    """The rows of the final splits, and notes on them."""
    good = np.ones(len(index), bool)
    good[list(index.errors)] = False
    given, rows = index.splits[good], np.flatnonzero(good)
    if (given == NO_SPLIT).all():
        found = _assign(index, rows, seed, val_fraction, test_fraction)
        shares = f"{val_fraction:.0%} validation, {test_fraction:.0%} test"
        note = f"no splits given: each photo's content and seed {seed} decide its split ({shares})"
        return _by_split(rows, found, always=(TRAIN, VAL, *((TEST,) if test_fraction else ()))), [note]
    if not (given == TRAIN).any():
        present = [split for split in SPLITS if split in index.metadata["places"]]
        if "train" not in present:
            raise DataError(
                f"{' and '.join(present)} without a train split; add a train folder (or rows of that split)"
            )
    if (given == VAL).any() or "val" in index.metadata["places"]:
        return _by_split(rows, given, always=tuple(SPLITS.index(name) for name in index.metadata["places"])), []
    trained = given == TRAIN
    given = given.copy()
    given[trained] = _assign(index, rows[trained], seed, val_fraction, 0.0)
    note = f"no validation split given: {val_fraction:.0%} of the training photos are held out for it"
    return _by_split(rows, given), [note]


def _by_split(rows: Rows, codes: NDArray[np.int8], always: tuple[int, ...] = ()) -> dict[Split, Rows]:
    found = {code: rows[codes == code] for code in range(len(SPLITS))}
    return {SPLITS[code]: some for code, some in found.items() if len(some) or code in always}


def _assign(index: Index, rows: Rows, seed: int, val_fraction: float, test_fraction: float) -> NDArray[np.int8]:
    digests, groups = index.digests[rows], index.groups()
    if groups is not None:  # a group's name decides instead of its images' contents
        for position, row in enumerate(rows):
            group = groups[row]
            if group is not None:
                digests[position] = np.frombuffer(hashlib.blake2b(group.encode(), digest_size=16).digest(), np.uint8)
    positions = split_positions(digests, seed)
    return split_by_content(index.labels[rows], positions, val_fraction=val_fraction, test_fraction=test_fraction)


def _names(index: Index, rows: Rows) -> set[str]:
    return {index.label_names[code] for code in np.unique(index.labels[rows])}


def _classes(index: Index, splits: Mapping[Split, Rows], root: str) -> tuple[str, ...]:
    known = _names(index, splits.get("train", np.zeros(0, np.int64)))
    classes = tuple(sorted(known))
    for split, rows in splits.items():
        unknown = sorted(_names(index, rows) - known)
        if unknown:
            code = index.label_names.index(unknown[0])
            path = index.record(int(rows[index.labels[rows] == code][0]))
            more = f" (and {len(unknown) - 1} more such classes)" if len(unknown) > 1 else ""
            raise DataError(
                f"class {unknown[0]!r} exists in the {split} split ({path}) but has no training images{more}; add"
                " some, or remove it"
            )
    if len(classes) < 2:
        raise DataError(
            f"{root} has one class only ({classes[0]!r}); a classifier needs two or more"
            if classes
            else f"{root} has no training images that can be read"
        )
    if not len(splits.get("val", ())):
        raise DataError(f"no validation images in {root}; add photos, or raise data.val_fraction")
    return classes


def _split_warnings(index: Index, splits: Mapping[Split, Rows], classes: Sequence[str]) -> list[str]:
    """Classes that a split lacks, and photos that leak from training into a score."""
    warnings = []
    trained = _words(index.digests[splits["train"]])
    for split in ("val", "test"):
        rows = splits.get(split)
        if rows is None:
            continue
        missing = sorted(set(classes) - _names(index, rows))
        if missing:
            warnings.append(f"no {split} images of class {name_some(map(repr, missing))}")
        leaked = rows[np.isin(_words(index.digests[rows]), trained)]
        if len(leaked):
            first = name_some(str(index.record(row)) for row in leaked)
            warnings.append(f"{len(leaked)} {split} image(s) are also in train, byte for byte: {first}")
    return warnings


def _words(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first half of each content hash; 64 bits distinguish a billion images."""
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64).ravel()


def _fingerprint(index: Index, splits: Mapping[Split, Rows]) -> str:
    """Independent of the order of the images: a file that was renamed is the same image."""
    names = [hashlib.blake2b(name.encode(), digest_size=16).digest() for name in index.label_names]
    label_words = np.frombuffer(b"".join(names), np.uint64).reshape(-1, 2)
    total = np.zeros(2, np.uint64)
    for split, rows in splits.items():
        words = np.ascontiguousarray(index.digests[rows]).view(np.uint64)
        salt = np.uint64(SPLITS.index(split) + 1)
        total += _scramble(words ^ _scramble(label_words[index.labels[rows]] + salt)).sum(axis=0, dtype=np.uint64)
    return _hash(total)


def _scramble(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele et al. 2014, "Fast Splittable Pseudorandom Number Generators")."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _hash(values: NDArray[Any]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()


def split_by_content(
    labels: NDArray[np.integer[Any]], positions: NDArray[np.float64], *, val_fraction: float, test_fraction: float
) -> NDArray[np.int8]:
    """Splits photos by their positions: below test_fraction is the test, the next val_fraction is validation.

    Each class is split in these proportions in expectation; adding or removing photos moves no other, and identical
    photos always share a split. Of a class without a training photo, the nearest to it trains.

    Args:
        labels: int (N,), the class of each photo, ≥ 0.
        positions: float64 (N,) of `split_positions`.
        val_fraction: Share of validation, in [0, 1).
        test_fraction: Share of the test, in [0, 1).

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
