"""Splits an index for a run, and checks that they can be trained and scored on."""

from __future__ import annotations

import hashlib
import itertools
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.index.table import Index
from classifier_training.data.sources.class_names import alike_but_for_case
from classifier_training.data.sources.listing import NO_SPLIT
from classifier_training.data.splits.caveats import Rows as Rows
from classifier_training.data.splits.caveats import group_warnings, split_warnings
from classifier_training.data.splits.folds import Fold, split_by_fold
from classifier_training.data.splits.positions import TEST, TRAIN, VAL, positions_of, split_by_content
from classifier_training.errors import DataError
from classifier_training.files.atomic import atomic_path
from classifier_training.files.text import name_some
from classifier_training.types import SPLITS, OnGroupOverlap, Split

MIN_ROWS_STORED: Final = 100_000
"""From this many images on, splitting takes long enough to keep the result."""
SPLIT_RULE: Final = 2
"""How photos without given splits are split; a run is resumed by the rule that it was started with. With 1, copies of
one photo in two groups, or under two labels, could be in two splits."""


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


def make_splits(
    index: Index,
    root: str,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    *,
    on_group_overlap: OnGroupOverlap = "raise",
    rule: int = SPLIT_RULE,
    fold: Fold | None = None,
) -> Splits:
    """Splits the good images of an index.

    Args:
        index: The images.
        root: Where they are, for messages.
        val_fraction: Share of validation where no such split is given.
        test_fraction: Share of the test where no split is given.
        seed: Of the run.
        on_group_overlap: What to do about a group that the source has put into two splits.
        rule: `SPLIT_RULE`, or that of the version that a run was started with.
        fold: Which run of a cross-validation this is; None: of none.

    Raises:
        DataError: No images to train or to validate on, one class only, or a class that training lacks; or a group is
            in two splits.
    """
    how = _Rules(val_fraction, test_fraction, seed, on_group_overlap, rule, fold)
    if len(index) < MIN_ROWS_STORED:
        return _make(index, root, how)
    key = [index.metadata.get("made_at_ns"), *astuple(how)]
    name = hashlib.blake2b(json.dumps(key).encode(), digest_size=8).hexdigest()
    path = index.path.with_name(f"{index.path.stem}.{name}.splits.npz")
    stored = _read(path, len(index))
    if stored is None:
        stored = _make(index, root, how)
        _write(path, stored)
    return stored


@dataclass(frozen=True, slots=True)
class _Rules:
    """What decides the splits, besides the images."""

    val_fraction: float
    test_fraction: float
    seed: int
    on_group_overlap: OnGroupOverlap
    rule: int
    fold: Fold | None


def _make(index: Index, root: str, how: _Rules) -> Splits:
    splits, notes = _split(index, how)
    classes = _classes(index, splits, root)
    lost = sorted(set(index.label_names) - set(classes))
    lost_classes = [f"class {name!r} has no image that can be read; the class is left out" for name in lost]
    return Splits(
        rows=splits,
        classes=classes,
        notes=tuple(notes),
        warnings=(
            *lost_classes,
            *split_warnings(index, splits, classes),
            *group_warnings(index, splits, how.on_group_overlap),
        ),
        fingerprint=_fingerprint(index, splits),
        order=_hash(index.digests[splits["train"]]),
    )


def _write(path: Path, splits: Splits) -> None:
    about = {name: value for name, value in asdict(splits).items() if name != "rows"}
    arrays: dict[str, NDArray[Any]] = {split: rows.astype(np.uint32) for split, rows in splits.rows.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]  # of its own options


def _read(path: Path, count: int) -> Splits | None:
    """The stored splits of an index of that many images; None: there are none, or the file is damaged."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            rows = {split: file[split].astype(np.int64) for split in SPLITS if split in file}
        texts = [about["fingerprint"], about["order"]]
        lists = {name: tuple(about[name]) for name in ("classes", "notes", "warnings")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile):
        return None
    are_texts = all(isinstance(text, str) for text in (*texts, *itertools.chain(*lists.values())))
    are_rows = all(some.ndim == 1 and ((some >= 0) & (some < count)).all() for some in rows.values())
    if not are_texts or not are_rows or "train" not in rows:
        return None
    return Splits(rows=rows, fingerprint=about["fingerprint"], order=about["order"], **lists)


def _split(index: Index, how: _Rules) -> tuple[dict[Split, Rows], list[str]]:
    """The rows of the final splits, and notes on them."""
    good = np.ones(len(index), bool)
    good[list(index.errors)] = False
    given, rows = index.splits[good], np.flatnonzero(good)
    if how.fold is not None:
        return split_by_fold(index, rows, given, how.fold, val_fraction=how.val_fraction, seed=how.seed, rule=how.rule)
    if (given == NO_SPLIT).all():
        found, notes = _assign(index, rows, how.seed, how.val_fraction, how.test_fraction, how.rule)
        shares = f"{how.val_fraction:.0%} validation, {how.test_fraction:.0%} test"
        note = f"no splits given: each photo's content and seed {how.seed} decide its split ({shares})"
        return _by_split(rows, found, always=(TRAIN, VAL, *((TEST,) if how.test_fraction else ()))), [note, *notes]
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
    given[trained], notes = _assign(index, rows[trained], how.seed, how.val_fraction, 0.0, how.rule)
    note = f"no validation split given: {how.val_fraction:.0%} of the training photos are held out for it"
    return _by_split(rows, given), [note, *notes]


def _by_split(rows: Rows, codes: NDArray[np.int8], always: tuple[int, ...] = ()) -> dict[Split, Rows]:
    found = {code: rows[codes == code] for code in range(len(SPLITS))}
    return {SPLITS[code]: some for code, some in found.items() if len(some) or code in always}


def _assign(
    index: Index, rows: Rows, seed: int, val_fraction: float, test_fraction: float, rule: int
) -> tuple[NDArray[np.int8], list[str]]:
    """The split of each of some rows, and notes on photos that train although their position says otherwise."""
    labels, positions = index.labels[rows], positions_of(index, rows, seed, rule)
    found = split_by_content(
        labels, positions, val_fraction=val_fraction, test_fraction=test_fraction, whole_sets=rule > 1
    )
    moved = (found == TRAIN) & (positions < test_fraction + val_fraction)
    if not moved.any():
        return found, []
    without = np.setdiff1d(labels, labels[positions >= test_fraction + val_fraction])
    classes = name_some(sorted(repr(index.label_names[code]) for code in without))
    note = (
        f"too few photos to have any in training by chance: class {classes}; {int(moved.sum())} photo(s) of them, and"
        " what must stay together with these, train instead"
    )
    return found, [note]


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
            alike = [name for pair in alike_but_for_case([*known, unknown[0]]) if unknown[0] in pair for name in pair]
            trained = [repr(name) for name in alike if name in known]
            advice = f"if it is the class {' or '.join(trained)} of training, rename one of them" if trained else ""
            raise DataError(
                f"class {unknown[0]!r} exists in the {split} split ({path}) but has no training images{more};"
                f" {advice or 'add some, or remove it'}"
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
