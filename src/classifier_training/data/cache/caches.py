"""The image caches of a run: one for training, one for validation."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import PIL
import simplejpeg
import torch
from PIL import features
from pydantic import ByteSize, TypeAdapter

from classifier_training.config.schema import DataConfig
from classifier_training.data.cache.choice import CacheChoice, choose_cache
from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.cache.slots import ImageList, StoredForm
from classifier_training.data.cache.upkeep import PHOTOS_FILE
from classifier_training.data.loading.dataset import reducing_filter
from classifier_training.data.photos import Photos
from classifier_training.data.sources.detect import shown_root
from classifier_training.files.text import plain_text
from classifier_training.types import Preprocessing, Split

DEFAULT_CROP_SHARE = 0.875
"""A crop of 224 pixels is taken from images whose shorter side is 256 pixels, unless data.cache_size is set."""


@dataclass(frozen=True, slots=True)
class Caches:
    """What was decided for each split that is read more than once.

    Attributes:
        train: The cache of training images; None where they are not reduced, so that each crop is decoded for itself.
        val: The cache of validation images.
    """

    train: CacheChoice | None
    val: CacheChoice

    @property
    def choices(self) -> list[CacheChoice]:
        """All decisions."""
        return [choice for choice in (self.train, self.val) if choice is not None]

    @property
    def messages(self) -> tuple[str, ...]:
        """What was decided, human-readable."""
        return tuple(choice.message for choice in self.choices)

    def opening_warnings(self) -> list[str]:
        """What the user should know of the caches as they were found."""
        return [text for choice in self.choices for text in choice.warnings]

    def new_warnings(self) -> list[str]:
        """What went wrong with the caches since the last call, in any process of this run."""
        return [text for choice in self.choices if choice.cache is not None for text in choice.cache.new_warnings()]

    def close(self) -> None:
        """Ends the use of the caches; those in memory go when no other run uses them."""
        for choice in self.choices:
            choice.close()


def reduced_side(config: DataConfig, preprocessing: Preprocessing) -> int | None:
    """Shorter side that training images are reduced to before the random crop; None: they are not."""
    if config.cache_size == "original":
        return None
    return config.cache_size or int(max(preprocessing.image_size, config.image_size or 0) / DEFAULT_CROP_SHARE)


def open_caches(photos: Photos, config: DataConfig, preprocessing: Preprocessing) -> Caches:
    """Decides where the images of a run are kept, and opens the caches; ``preprocessing`` is that of evaluation."""
    side = reduced_side(config, preprocessing)
    # what transparent and deep images look like depends on these
    colours = [repr(one) for one in (preprocessing.background, preprocessing.integer_range) if one is not None]
    train = None
    if side is not None:
        # torch's kernels differ in their last bit from one instruction set to the next
        capability = torch.backends.cpu.get_cpu_capability()
        maker = " ".join([simplejpeg.__version__, torch.__version__, capability, *decoders(), *colours])
        used = reducing_filter(preprocessing.interpolation)
        train = _open(photos, "train", config, StoredForm("train", side, used, maker))
    maker = " ".join([*decoders(), *colours])
    form = StoredForm("evaluation", preprocessing.resize_size, preprocessing.interpolation, maker)
    return Caches(train, _open(photos, "val", config, form))


def decoders() -> list[str]:
    """The version of Pillow, and of each library that it decodes with: another one may give other pixels."""
    names = {"libjpeg_turbo", "jpg", "jpg_2000", "webp", "avif", "libtiff", "zlib", "zlib_ng"}
    versions = ((name, features.version(name)) for name in sorted(names.intersection(features.get_supported())))
    return [f"Pillow {PIL.__version__}", *(f"{name} {version}" for name, version in versions)]


def _open(photos: Photos, split: Split, config: DataConfig, form: StoredForm) -> CacheChoice:
    records = photos.records(split)
    index = photos.index
    images = ImageList(photos.digests(split), index.widths[records.rows], index.heights[records.rows], form)
    limit = None if config.cache_limit is None else int(TypeAdapter(ByteSize).validate_python(config.cache_limit))
    choice = choose_cache(images, cache_folder(config.cache_dir), config.cache, limit)
    if choice.cache is not None:
        choice.cache.records = records
        if choice.cache.may_write:  # for people who ask what the cache folder holds
            with contextlib.suppress(OSError):
                about = choice.cache.folder / PHOTOS_FILE
                about.write_text(plain_text(shown_root(photos.root)), encoding="utf-8")
    return choice
