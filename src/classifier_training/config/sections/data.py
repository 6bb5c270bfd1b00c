"""Settings of the photos and of their augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ByteSize, Field, TypeAdapter

from classifier_training.config.section import (
    ByteCount,
    Colour,
    Fraction,
    NonEmptyText,
    NonNegativeFloat,
    NonNegativeInt,
    OpenFraction,
    PositiveInt,
    Section,
)
from classifier_training.config.sections.augmentation import AugmentationConfig
from classifier_training.config.sections.mixing import MixingConfig
from classifier_training.config.sections.sizes import SizesConfig
from classifier_training.errors import ConfigError
from classifier_training.types import Decoding, OnBadImage, OnGroupOverlap

_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "gray": (128, 128, 128)}


class PhotosConfig(Section):
    """The photos, how they are split, read and balanced; a part of the section ``data``."""

    root: NonEmptyText | None = Field(
        None, description="folder of photos, table file (csv, jsonl, parquet), or tar shards; local or an address"
    )
    batch_size: PositiveInt | Literal["auto"] = Field(
        32,
        description="images per step and device; auto: measured at the beginning of a run, on a GPU the most that fit"
        " into its memory, on a CPU the fewest that are about as fast as any, and 20 steps an epoch in any case",
    )
    image_size: PositiveInt | None = Field(None, description="input side in pixels; null: the backbone's own")
    crop_pct: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        None, description="share of the resized side that the evaluation crop keeps; null: the backbone's own"
    )
    num_workers: NonNegativeInt | None = Field(
        None, description="loader processes of each device; null: by the CPUs that may be used, 8 at most"
    )
    val_fraction: OpenFraction = Field(0.15, description="share of photos for validation where no split is given")
    test_fraction: OpenFraction = Field(0.15, description="share of photos for the test where no split is given")
    folds: Annotated[int, Field(ge=2)] | None = Field(
        None, description="cross-validation: number of folds, each of which is tested on by one run; null: one run"
    )
    fold: PositiveInt | Literal["all"] | None = Field(
        None, description="the fold that this run tests on, from 1; all: a final model of all folds; null: set by folds"
    )
    refit: bool = Field(False, description="after the folds, train a final model on all their photos")
    balance: Literal["none", "sampler", "loss_weights", "logit_adjustment"] = Field(
        "none", description="correction of class imbalance, exactly one"
    )
    balance_weighting: Literal["inverse", "inverse_sqrt", "effective_number", "manual"] = Field(
        "inverse", description="how class weights follow from class counts (sampler, loss_weights)"
    )
    balance_beta: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.999, description="beta of the effective number of samples (Cui et al. 2019)"
    )
    class_weights: dict[str, NonNegativeFloat] | None = Field(
        None, description="weight of each class by name, for balance_weighting=manual"
    )
    on_bad_image: OnBadImage = Field(
        "raise", description="a file that is not an image: stop, or leave it out and list it"
    )
    on_missing_label: OnBadImage = Field(
        "raise", description="an image whose label is missing or empty: stop, or leave it out and count it"
    )
    max_bad_fraction: Fraction = Field(
        0.5, description="share of files that on_bad_image=skip may leave out; with more of them the run stops"
    )
    max_image_pixels: PositiveInt = Field(
        178_956_970, description="an image with more pixels is refused, as it could exhaust the memory"
    )
    background: Colour | None = Field(
        None, description="colour that transparent images are composed on; null: the colour under the transparency"
    )
    integer_range: Annotated[tuple[float, float], Field(strict=False)] | None = Field(
        None,
        description="values that are black and white in grey images of more than 8 bits, such as [0, 4095]; null: the"
        " range of their number of bits",
    )
    cache: Literal["auto", "none", "memory", "disk"] = Field(
        "auto", description="where decoded images are kept for the next epochs and runs; never changes the result"
    )
    cache_size: PositiveInt | Literal["original"] | None = Field(
        None,
        description="shorter side, pixels, that training images are reduced to before the random crop; null: 8/7 of"
        " image_size, 256 for 224; original: not reduced, and no training image is kept",
    )
    cache_dir: NonEmptyText | None = Field(
        None, description="folder of cached images and indices; null: the user's cache folder"
    )
    cache_limit: ByteCount | None = Field(
        None, description="most that all cached images may take; null: by free disk and memory"
    )
    copies_limit: ByteCount | None = Field(
        None,
        description="most that indices, features, copies of remote files and unpacked Parquet files may take in the"
        " cache folder; those not used for longest are removed; null: half of the free space",
    )
    image_column: str = Field("image", min_length=1, description="column of a table with the image's path")
    label_column: str = Field("label", min_length=1, description="column of a table with the class name")
    split_column: str = Field("split", min_length=1, description="optional column of a table with the split")
    group_column: NonEmptyText | None = Field(
        None, description="column of a table with what must stay in one split together, such as a patient"
    )
    on_group_overlap: OnGroupOverlap = Field(
        "raise", description="a group that a source with given splits has in two of them: stop, or only warn"
    )
    weight_column: NonEmptyText | None = Field(
        None, description="column of a table with sampling weights; training then draws with replacement by them"
    )

    @property
    def images_per_batch(self) -> int:
        """``batch_size`` as a number.

        Raises:
            ConfigError: It is still to be measured.
        """
        if self.batch_size == "auto":
            raise ConfigError("data.batch_size=auto: it is measured by train alone; give a number here")
        return self.batch_size

    @property
    def decoding(self) -> Decoding:
        """How images are decoded."""
        colour = self.background
        if isinstance(colour, str):
            colour = _COLOURS.get(colour) or (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16))
        return Decoding(self.max_image_pixels, colour, self.integer_range)

    @property
    def copies_bytes(self) -> int | None:
        """``copies_limit`` in bytes; None: it is chosen."""
        return None if self.copies_limit is None else int(TypeAdapter(ByteSize).validate_python(self.copies_limit))

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Fractions that leave nothing, a range that falls, weights that nobody uses."""
        yield from super()._conflicts()
        if self.val_fraction + self.test_fraction >= 1:
            yield ("val_fraction", "test_fraction"), "leave no photo for training; their sum must be below 1"
        if self.fold is not None and self.folds is None:
            yield ("fold", "folds"), "a fold needs the number of folds, data.folds=5"
        if self.refit and self.folds is None:
            yield ("refit", "folds"), "a final model follows folds, data.folds=5"
        if isinstance(self.fold, int) and self.fold > (self.folds or self.fold):
            yield ("fold", "folds"), "there is no such fold; they are 1 to data.folds"
        if self.integer_range is not None and self.integer_range[0] >= self.integer_range[1]:
            yield ("integer_range",), "must rise, as [black, white]"
        manual = self.balance_weighting == "manual"
        if self.class_weights is not None and not manual:
            yield ("class_weights", "balance_weighting"), "weights by class need balance_weighting=manual"
        if self.class_weights is None and manual:
            yield ("balance_weighting", "class_weights"), "manual weighting needs class_weights={class: weight, …}"
        if manual and self.balance not in {"sampler", "loss_weights"}:
            yield ("balance_weighting", "balance"), "manual weights are used by balance=sampler or loss_weights only"


class DataConfig(SizesConfig, MixingConfig, AugmentationConfig, PhotosConfig):
    """The photos, how they are split, read, balanced, resized, augmented and mixed."""

    @property
    def evaluation_size(self) -> int | None:
        """Input side of everything but the training; None: the backbone's own."""
        return self.test_image_size or self.image_size
