"""Selects the labelled images that a finished model is scored on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.index.check import BadImagePolicy
from classifier_training.data.sources.address import absolute_root, file_name, is_remote, shown
from classifier_training.data.sources.detect import list_photos
from classifier_training.data.sources.table import Columns
from classifier_training.data.splits.file import read_split
from classifier_training.errors import ConfigError, DataError
from classifier_training.evaluation.labelled import Selection, check_labelled, select_samples
from classifier_training.results.scored_pass import LabelledImages
from classifier_training.run.folder import RunFolder
from classifier_training.types import Progress, Sample, Split

if TYPE_CHECKING:
    from classifier_training.config.schema import Config


@dataclass(frozen=True, slots=True)
class ImageSelector:
    """Selects the images once the model's classes are known.

    Attributes:
        run: The run of the model; None: it belongs to none.
        photos: The photos that were named; None: those of the run.
        settings: The settings of the evaluation; None: the defaults.
        split: The split that was named.
        checking: Called with the number of files that have been checked.
    """

    run: RunFolder | None
    photos: str | os.PathLike[str] | None
    settings: Config | None
    split: Split | None
    checking: Progress | None = None

    def __call__(self, classes: tuple[str, ...]) -> LabelledImages:
        """Finds and checks the images.

        Args:
            classes: The model's class names.

        Raises:
            DataError: They are missing or cannot be used.
        """
        data = None if self.settings is None else self.settings.data
        return check_labelled(
            self._choose(classes),
            classes,
            policy=None if data is None else BadImagePolicy(data.on_bad_image, data.max_bad_fraction),
            max_pixels=None if data is None else data.max_image_pixels,
            progress=self.checking,
        )

    @property
    def uses_run_split(self) -> bool:
        """Whether to score on the run's split, so that no training photo is scored by mistake."""
        if self.run is None or not self.run.split.is_file():
            return False
        return self.photos is None or absolute_root(self.photos) == _data_root(self.run)

    @property
    def name(self) -> str | None:
        """A short name of the photos that were named; None where the images are those of the run."""
        if self.photos is None or self.uses_run_split:
            return None
        root = absolute_root(self.photos)
        return file_name(shown(root)) if is_remote(root) else Path(root).name

    def _choose(self, classes: tuple[str, ...]) -> Selection:
        if self.run is not None and self.uses_run_split:
            split = self.split or _best_split(self.run)
            samples = read_split(self.run.split, split)
            self._restore(self.run, samples)
            return Selection(samples, f"the {split} split of {self.run.root}", split)
        if self.photos is None:
            raise DataError("this model belongs to no run folder; name photos to evaluate it on")
        return select_samples(absolute_root(self.photos), self._columns(), self.split, classes, self._cache())

    def _restore(self, run: RunFolder, samples: Iterable[Sample]) -> None:
        """Restores images that were fetched or unpacked into the cache and have been removed from it since."""
        missing = [file for file in {sample.image.path for sample in samples} if not Path(file).exists()]
        root = _data_root(run)
        if root is None or not missing:
            return
        cache = self._cache()
        if any(Path(file).is_relative_to(cache) for file in missing):
            list_photos(root, self._columns(), cache=cache)

    def _columns(self) -> Columns | None:
        data = None if self.settings is None else self.settings.data
        return None if data is None else Columns(data.image_column, data.label_column, data.split_column)

    def _cache(self) -> Path:
        """The cache folder; where nothing is set for the evaluation, that of the run."""
        if self.settings is not None or self.run is None:
            return cache_folder(None if self.settings is None else self.settings.data.cache_dir)
        try:
            from classifier_training.config import load_config

            return cache_folder(load_config([], file=self.run.config).data.cache_dir)
        except (ImportError, ConfigError):  # where an ONNX file is scored there may be no pydantic
            return cache_folder()


def _data_root(run: RunFolder) -> str | None:
    """The root of the photos of a run."""
    root: str | None = json.loads(run.environment.read_text(encoding="utf-8")).get("data_root")
    return root


def _best_split(run: RunFolder) -> Split:
    try:
        read_split(run.split, "test")
    except DataError:
        return "val"
    return "test"
