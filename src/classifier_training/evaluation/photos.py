"""The labelled images that a finished model is scored on. Needs numpy and Pillow only, as scoring an ONNX file does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.index.check import BadImagePolicy, bad_images, check_bad, inspect_records
from classifier_training.data.sources.address import absolute_root, file_name, is_remote, shown
from classifier_training.data.sources.class_names import match_class
from classifier_training.data.sources.detect import list_photos, shown_root
from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.table import Columns
from classifier_training.data.splits.caveats import copy_warnings
from classifier_training.data.splits.recorded import check_contents
from classifier_training.errors import ConfigError, DataError
from classifier_training.evaluation.moved import find_moved_split
from classifier_training.evaluation.run_split import data_root, is_run_split, run_split
from classifier_training.files.text import name_some
from classifier_training.imaging.decode import DEFAULT
from classifier_training.results.scored_pass import LabelledImages
from classifier_training.run.folder import RunFolder
from classifier_training.types import SPLITS, Decoding, Preprocessing, Progress, Sample, Split

if TYPE_CHECKING:
    from classifier_training.config.schema import Config

_ADVICE: Final = "restore them, or score the photos as they are now with --current"


Chooser = Callable[[tuple[str, ...], Decoding], LabelledImages]
"""Gives the images to score, once the classes of a model and how it decodes images are known."""


def with_limit(preprocessing: Preprocessing, config: Config | None, max_pixels: int | None) -> Preprocessing:
    """A model's preprocessing with the limit of pixels that applies.

    Args:
        preprocessing: Of the model; it has no limit in files that were written before the limit travelled with them.
        config: The settings, for such files.
        max_pixels: The limit that was given for this evaluation; None: none was.
    """
    limit = max_pixels or preprocessing.max_image_pixels or (config.data.max_image_pixels if config else None)
    return replace(preprocessing, max_image_pixels=limit)


@dataclass(frozen=True, slots=True)
class Selection:
    """Images that are not checked yet.

    Attributes:
        samples: The images.
        description: Which images these are, human-readable.
        split: Which split they are; None where they belong to none.
        digests: uint8 (N, 16), contents that they must have, zero where that is unknown; None: any.
    """

    samples: Sequence[Sample]
    description: str
    split: Split | None
    digests: NDArray[np.uint8] | None = None


def select_samples(
    root: str | Path,
    columns: Columns | None = None,
    split: Split | None = None,
    classes: Collection[str] | None = None,
    cache: Path | None = None,
) -> Selection:
    """The images of a root to score on.

    Args:
        root: A folder of photos, a table file, shards, or the address of any of them.
        columns: Names of a table's columns.
        split: Which split to take where the root has splits; None: test, else validation.
        classes: The class names that a table may have; None: any.
        cache: The cache folder; None: the user's.

    Raises:
        DataError: There are no photos, or no such split, or a row of a table has another class.
    """
    listing: Listing = list_photos(root, columns, classes=classes, cache=cache)
    root = shown_root(os.fspath(root))
    if not listing.locations and split is not None:
        raise DataError(f"{root} has no splits, so none can be chosen with --split {split}; leave it out to score all")
    if not listing.locations:
        return Selection(listing.samples(), f"all images of {root} (it has no splits)", None)
    there = [name for name in SPLITS if listing.count(name)]
    chosen: Split = split or ("test" if "test" in there else "val")
    if chosen not in there:
        raise DataError(f"{root} has no images to score in a {chosen} split; choose with --split: {', '.join(there)}")
    return Selection(listing.samples(chosen), f"the {chosen} split of {root}", chosen)


def check_labelled(
    chosen: Selection,
    classes: Sequence[str],
    *,
    policy: BadImagePolicy | None = None,
    decoding: Decoding = DEFAULT,
    progress: Progress | None = None,
) -> LabelledImages:
    """Checks the files, and turns class names into the indices of the model's classes.

    Without a policy a file that is not an image is refused.

    Raises:
        DataError: A file is broken and not to be skipped, or the model does not know a class.
    """
    samples, description = chosen.samples, chosen.description
    names = [sample.label for sample in samples]
    labels = _class_indices(names, classes, description)
    records = [sample.image for sample in samples]
    facts = inspect_records(records, progress, decoding=decoding)
    bad = bad_images(records, facts.errors)
    check_bad(bad, len(records), policy or BadImagePolicy())
    if chosen.digests is not None:
        check_contents(description, samples, chosen.digests, facts.digests, _ADVICE)
    good = [position for position in range(len(samples)) if position not in facts.errors]
    if not good:
        raise DataError(f"{description}: no image can be read")
    files = [samples[position].path for position in good]
    return LabelledImages(
        files=files,
        labels=labels[good],
        classes=tuple(classes),
        description=description,
        split=chosen.split,
        # with its stamp: a file that changes from now on is refused when it is scored
        records=[replace(records[position], stamp=int(facts.stamps[position])) for position in good],
        digests=tuple(facts.digests[position].tobytes().hex() for position in good),
        left_out=tuple(image.path for image in bad),
        copies=tuple(copy_warnings(facts.digests[good], labels[good], classes, files.__getitem__)),
    )


def for_classes(images: LabelledImages, classes: Sequence[str]) -> LabelledImages:
    """The same images, with the class indices of another model, which has these classes.

    Raises:
        DataError: A class is not one of that model's.
    """
    names = [images.classes[label] for label in images.labels.tolist()]
    return replace(images, labels=_class_indices(names, classes, images.description), classes=tuple(classes))


def _class_indices(names: Sequence[str], classes: Sequence[str], description: str) -> NDArray[np.int64]:
    """int64 (N,), the model's class index of each class name; an error where it does not know one."""
    index = {name: number for number, name in enumerate(classes)}
    for name in set(names) - index.keys():
        same = match_class(name, classes)
        if same is not None:
            index[name] = index[same]
    unknown = sorted(set(names) - index.keys())
    if unknown:
        raise DataError(
            f"{description}: there are classes that the model does not know: {name_some(map(repr, unknown))}; it knows"
            f" {name_some(map(repr, classes))}"
        )
    return np.array([index[name] for name in names], np.int64)


@dataclass(frozen=True, slots=True)
class ImageSelector:
    """Selects the images once the model's classes are known.

    Attributes:
        run: The run of the model; None: it belongs to none.
        photos: The photos that were named; None: those of the run.
        settings: The settings of the evaluation; None: the defaults.
        split: The split that was named.
        checking: Called with the number of files that have been checked.
        current: Whether photos are scored as they are now, even if they are those of the run.
        have_moved: Whether ``photos`` is where those of the run may lie now, so that its split is looked for in them.
    """

    run: RunFolder | None
    photos: str | os.PathLike[str] | None
    settings: Config | None
    split: Split | None
    checking: Progress | None = None
    current: bool = False
    have_moved: bool = False

    def __call__(self, classes: tuple[str, ...], decoding: Decoding = DEFAULT) -> LabelledImages:
        """Finds and checks the images for a model with these classes, which decodes images like this.

        Raises:
            DataError: They are missing or cannot be used.
        """
        data = None if self.settings is None else self.settings.data
        selection = self._choose(classes, decoding)
        self._bound_copies(selection)
        return check_labelled(
            selection,
            classes,
            policy=None if data is None else BadImagePolicy(data.on_bad_image, data.max_bad_fraction),
            decoding=decoding,
            progress=self.checking,
        )

    @property
    def uses_run_split(self) -> bool:
        """Whether to score on the run's split, so that no training photo is scored by mistake."""
        return not self.current and is_run_split(self.run, self.photos)

    @property
    def name(self) -> str | None:
        """A short name of the photos that were named; None where the images are those of the run."""
        if self.photos is None or self.uses_run_split:
            return "current" if self.current and self.photos is None else None
        root = absolute_root(self.photos)
        return file_name(shown(root)) if is_remote(root) else Path(root).name

    def _choose(self, classes: tuple[str, ...], decoding: Decoding) -> Selection:
        if self.run is not None and self.uses_run_split:
            split, images = run_split(
                self.run,
                self.split,
                self._columns(),
                self._cache(),
                None if self.photos is None else absolute_root(self.photos),
            )
            return Selection(images, f"the {split} split of {self.run.root}", split, images.digests)
        moved = self._moved_split(decoding)
        if moved is not None:
            return moved
        photos = self.photos
        if photos is None and self.run is not None:
            photos = data_root(self.run)  # --current
        if photos is None:
            raise DataError("this model belongs to no run folder; name photos to evaluate it on")
        return select_samples(absolute_root(photos), self._columns(), self.split, classes, self._cache())

    def _bound_copies(self, selection: Selection) -> None:
        """Removes what was fetched or unpacked before, where these images have been, and take too much room with it."""
        if not selection.samples or not Path(selection.samples[0].image.path).is_relative_to(self._cache()):
            return
        with contextlib.suppress(OSError, ImportError):  # as of `load_index`; an ONNX file needs no filelock
            from classifier_training.data.cache.upkeep import bound_copies

            bound_copies(self._cache(), None if self.settings is None else self.settings.data.copies_bytes)

    def _moved_split(self, decoding: Decoding) -> Selection | None:
        """The run's split in the place that was named; None where no such place was, or it holds none of it."""
        run, photos = self.run, self.photos
        if run is None or photos is None or not self.have_moved or self.current or not run.split.is_file():
            return None
        root = absolute_root(photos)
        listing = list_photos(root, self._columns(), cache=self._cache())
        found = find_moved_split(
            run,
            self.split,
            root,
            listing,
            lambda some: inspect_records([one.image for one in some], self.checking, decoding=decoding).digests,
        )
        if found is None:
            return None
        where = f"the {found.split} split of {run.root}, found in {shown_root(root)}"
        return Selection(found.samples, where, found.split, found.digests)

    def _columns(self) -> Columns | None:
        data = None if self.settings is None else self.settings.data
        if data is None:
            return None
        return Columns(data.image_column, data.label_column, data.split_column, on_missing_label=data.on_missing_label)

    def _cache(self) -> Path:
        """The cache folder; where nothing is set for the evaluation, that of the run."""
        if self.settings is not None or self.run is None:
            return cache_folder(None if self.settings is None else self.settings.data.cache_dir)
        try:
            from classifier_training.config import load_config

            return cache_folder(load_config([], file=self.run.config).data.cache_dir)
        except (ImportError, ConfigError):  # where an ONNX file is scored there may be no pydantic
            return cache_folder()
