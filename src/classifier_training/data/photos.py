"""All photos of a run, found, checked and split: what the data module and the evaluation are built on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from classifier_training.config.schema import DataConfig
from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.index.cache import load_index
from classifier_training.data.index.check import BadImage, BadImagePolicy, bad_images, check_bad
from classifier_training.data.index.flat_images import flat_image_warnings
from classifier_training.data.index.table import Index, RowRecords
from classifier_training.data.sources.address import absolute_root
from classifier_training.data.sources.detect import shown_root
from classifier_training.data.sources.table import Columns
from classifier_training.data.splits.folds import Fold
from classifier_training.data.splits.make import SPLIT_RULE, Rows, Splits, make_splits
from classifier_training.errors import DataError
from classifier_training.files.text import name_some
from classifier_training.types import SPLITS, Progress, Sample, Split


@dataclass(frozen=True, slots=True)
class Photos:
    """The photos of a run.

    Attributes:
        root: Where they are: an absolute path, or an address without its credentials.
        classes: Class names of the training split, lexicographic; a class index is a position in it.
        index: Every image that was found.
        rows: The good images of each split, as rows of the index.
        bad: The files that were left out.
        notes: How the splits were made, where the source did not define them.
        warnings: What the user should know.
        fingerprint: Hash over every image's content, label and split.
        order: Hash over the training images' contents in their order.
        split_rule: How the splits were made, see `SPLIT_RULE`.
    """

    root: str
    classes: tuple[str, ...]
    index: Index
    rows: Mapping[Split, Rows]
    bad: tuple[BadImage, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    fingerprint: str
    order: str
    split_rule: int = SPLIT_RULE

    @property
    def layout(self) -> str:
        """The layout of the photos, human-readable."""
        return str(self.index.metadata["layout"])

    def labels(self, split: Split) -> NDArray[np.int64]:
        """int64 (N,), class index of every image of a split."""
        number = {name: position for position, name in enumerate(self.classes)}
        class_of_code = np.array([number.get(name, -1) for name in self.index.label_names], np.int64)
        return class_of_code[self.index.labels[self._rows(split)]]

    def counts(self, split: Split) -> list[int]:
        """Number of images of each class in a split."""
        return [int(count) for count in np.bincount(self.labels(split), minlength=len(self.classes))]

    def records(self, split: Split) -> RowRecords:
        """Where every image of a split is."""
        return RowRecords(self.index, self._rows(split))

    def samples(self, split: Split) -> Sequence[Sample]:
        """Every image of a split with its class name, looked up on access."""
        return _Samples(self.records(split))

    def digests(self, split: Split) -> NDArray[np.uint8]:
        """uint8 (N, 16), content hashes of a split."""
        return self.index.digests[self._rows(split)]

    def weights(self, split: Split) -> NDArray[np.float64] | None:
        """float64 (N,), sampling weights of a split, 1 where an image has none; None where the source has none."""
        weights = self.index.weights
        return None if weights is None else np.nan_to_num(weights[self._rows(split)].astype(np.float64), nan=1.0)

    def _rows(self, split: Split) -> Rows:
        return self.rows.get(split, np.zeros(0, np.int64))


class _Samples(Sequence[Sample]):
    def __init__(self, records: RowRecords) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, position: int) -> Sample: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[Sample]: ...

    def __getitem__(self, position: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(position, slice):
            return [self[number] for number in range(*position.indices(len(self)))]
        index = self.records.source
        return Sample(self.records[position], index.label_names[index.labels[self.records.rows[position]]])


def load_photos(
    config: DataConfig,
    seed: int,
    progress: Progress | None = None,
    *,
    scanning: Progress | None = None,
    fetching: Progress | None = None,
    split_rule: int = SPLIT_RULE,
) -> Photos:
    """Finds, checks and splits the photos of ``config.root``.

    Args:
        config: The data settings.
        seed: The run's seed, for the split.
        progress: Reports how many files have been checked.
        scanning: Reports how many folders or shards have been scanned.
        fetching: Reports how many remote images have been fetched.
        split_rule: That of the version that a resumed run was started with.

    Raises:
        DataError: There are no photos, broken ones, one class only, or classes that the training split lacks.
    """
    root = _absolute_root(config)
    index = load_index(
        root,
        table_columns(config),
        cache_folder(config.cache_dir),
        decoding=config.decoding,
        checking=progress,
        scanning=scanning,
        fetching=fetching,
        copies_limit=config.copies_bytes,
    )
    bad = _check_images(index, shown_root(root), BadImagePolicy(config.on_bad_image, config.max_bad_fraction))
    splits = _make_splits(index, shown_root(root), config, seed, split_rule)
    warnings = (*index.metadata["warnings"], *flat_image_warnings(index, config.decoding), *splits.warnings)
    classes, rows, notes = splits.classes, splits.rows, splits.notes
    return Photos(
        shown_root(root), classes, index, rows, bad, notes, warnings, splits.fingerprint, splits.order, split_rule
    )


def _absolute_root(config: DataConfig) -> str:
    """The photos by a path that holds from any working directory, as the run's split.csv must."""
    if config.root is None:
        raise DataError("no photos given; name a folder: classifier-training train PHOTOS")
    return absolute_root(config.root)


def _make_splits(index: Index, root: str, config: DataConfig, seed: int, rule: int) -> Splits:
    return make_splits(
        index,
        root,
        config.val_fraction,
        config.test_fraction,
        seed,
        on_group_overlap=config.on_group_overlap if rule > 1 else "warn",  # as that version had no such setting
        rule=rule,
        fold=None if config.folds is None or config.fold is None else Fold(config.fold, config.folds),
    )


def _check_images(index: Index, root: str, policy: BadImagePolicy) -> tuple[BadImage, ...]:
    """The files that are left out.

    Raises:
        DataError: A split is empty, or files are broken and the policy does not allow it.
    """
    for split, location in index.metadata["places"].items():
        if not np.any(index.splits == SPLITS.index(split)):
            raise DataError(f"the {split} split holds no images: {location}; add some, or remove it")
    bad = bad_images(RowRecords(index, np.arange(len(index))), index.errors)
    check_bad(bad, len(index), policy)
    if len(bad) == len(index):
        raise DataError(f"no image in {root} can be read: {name_some(image.reason for image in bad)}")
    return bad


def table_columns(config: DataConfig) -> Columns:
    """The names of a table's columns."""
    return Columns(
        config.image_column,
        config.label_column,
        config.split_column,
        config.group_column,
        config.weight_column,
        config.on_missing_label,
    )
