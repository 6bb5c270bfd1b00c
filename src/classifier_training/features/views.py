"""Views of an image: as it is scored, or augmented, by its content alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from classifier_training.config.schema import DataConfig
from classifier_training.config.sections.augmentation import AugmentationConfig
from classifier_training.data.cache.caches import decoders, reduced_side
from classifier_training.data.loading.dataset import EvaluationDataset, ImageDataset, TrainDataset
from classifier_training.data.loading.policies import AUGMENTATION
from classifier_training.data.loading.transforms import TrainTransform
from classifier_training.data.sampling.batches import SampledIndices
from classifier_training.data.splits.together import digest_words
from classifier_training.types import ClassificationBatch, ImageRecord, Preprocessing


class View(Protocol):
    """How images are prepared for the backbone."""

    @property
    def form(self) -> tuple[str, ...]:
        """What the view depends on besides the image."""

    def dataset(self, records: Sequence[ImageRecord], digests: NDArray[np.uint8]) -> ImageDataset:
        """The images, of which batches are asked for by lists of positions."""


@dataclass(frozen=True, slots=True)
class CentreView:
    """Images as they are scored.

    Attributes:
        preprocessing: Of the model.
    """

    preprocessing: Preprocessing

    @property
    def form(self) -> tuple[str, ...]:
        """What the view depends on besides the image."""
        return ("centre", _pixels_of(self.preprocessing), *decoders())

    def dataset(self, records: Sequence[ImageRecord], digests: NDArray[np.uint8]) -> ImageDataset:
        """The images, of which batches are asked for by lists of positions."""
        return EvaluationDataset(records, np.zeros(len(digests), np.int64), self.preprocessing)


@dataclass(frozen=True, slots=True)
class AugmentedView:
    """Images as they are trained on, each augmented by the seed, the number of the view and the image's content.

    Attributes:
        number: Of the view, from 0.
        seed: Of the run.
        preprocessing: Of the model.
        config: The augmentation.
    """

    number: int
    seed: int
    preprocessing: Preprocessing
    config: DataConfig

    @property
    def form(self) -> tuple[str, ...]:
        """What the view depends on besides the image."""
        names = AugmentationConfig.model_fields
        settings = {name: value for name, value in self.config.model_dump(mode="json").items() if name in names}
        settings |= {"reduced": reduced_side(self.config, self.preprocessing), "version": AUGMENTATION}
        parts = (f"augmented {self.number} of seed {self.seed}", _text(settings), _pixels_of(self.preprocessing))
        return (*parts, *decoders())

    def dataset(self, records: Sequence[ImageRecord], digests: NDArray[np.uint8]) -> ImageDataset:
        """The images, of which batches are asked for by lists of positions."""
        return _AugmentedDataset(self, records, digests)


class _AugmentedDataset(TrainDataset):
    """Training images of one view."""

    def __init__(self, view: AugmentedView, records: Sequence[ImageRecord], digests: NDArray[np.uint8]) -> None:
        super().__init__(
            records,
            np.zeros(len(digests), np.int64),
            TrainTransform(view.preprocessing, view.config),
            view.seed,
            reduce_to=reduced_side(view.config, view.preprocessing),
            decoding=view.preprocessing.decoding,
        )
        self.number = view.number
        # Philox counts in 256 bits, and the numbers of an image are some blocks: 60 bits of the hash are far enough
        self.places = (digest_words(digests) >> np.uint64(4)).astype(np.int64)

    def __getitems__(self, positions: SampledIndices | Sequence[int]) -> ClassificationBatch:
        """One batch: images uint8 (B, 3, S, S), channels last, and their colour maps."""
        assert not isinstance(positions, SampledIndices)  # noqa: S101 - the loader of features asks by position
        indices = np.asarray(positions, np.int64)
        return super().__getitems__(SampledIndices(self.number, self.places[indices], indices))


def _pixels_of(preprocessing: Preprocessing) -> str:
    """What the pixels of the model's input depend on; the limit of pixels refuses images and changes none."""
    return _text(replace(preprocessing, max_image_pixels=None).to_dict())


def _text(settings: object) -> str:
    return json.dumps(settings, sort_keys=True, default=str)
