"""`prepare --format cache`: photos in; a filled image cache out, for a first epoch that decodes nothing."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier_training.config import load_config
from classifier_training.config.arguments import read_overrides
from classifier_training.config.compose import AUTO
from classifier_training.config.overrides import OverrideLike
from classifier_training.config.schema import Config, DataConfig
from classifier_training.data.cache.caches import Caches, open_caches, reduced_side
from classifier_training.data.cache.image_cache import fill_cache
from classifier_training.data.loading.dataset import reduce_image, resized_for_evaluation
from classifier_training.data.photos import Photos, load_photos
from classifier_training.errors import ConfigError, DataError
from classifier_training.imaging.decode import decode_image, read_image_bytes
from classifier_training.imaging.jpeg import EncodedImage
from classifier_training.models.backbone import backbone_preprocessing, check_backbone_name
from classifier_training.models.device import resolve_accelerator
from classifier_training.training.choose import choose, completed, facts_of
from classifier_training.training.devices import decide_place
from classifier_training.types import Preprocessing, Progress


@dataclass(frozen=True, slots=True)
class PreparedCache:
    """What was stored.

    Attributes:
        folder: The cache folder, for ``data.cache_dir``.
        num_made: Images that were decoded now; the others were stored before.
        num_stored: Images that are stored.
        num_images: Training and validation images.
        messages: Where the caches are.
        warnings: What may be wrong with the photos or the caches.
    """

    folder: Path
    num_made: int
    num_stored: int
    num_images: int
    messages: tuple[str, ...]
    warnings: tuple[str, ...]


def prepare_cache(
    photos: str | os.PathLike[str] | None,
    *overrides: OverrideLike,
    to: str | os.PathLike[str],
    checking: Progress | None = None,
    storing: Progress | None = None,
) -> PreparedCache:
    """Decodes the training and validation images into an image cache; interrupted and called again, it continues.

    A training finds them when its photos, its ``model``, ``data.image_size`` and ``data.cache_size`` are the same.

    Args:
        photos: Any source that `train` takes; None: ``data.root`` of the settings.
        overrides: Settings of the training.
        to: The cache folder, for ``data.cache_dir``.
        checking: Called with the number of images that have been checked.
        storing: Called with the number of images that have been stored.

    Raises:
        UserError: A setting or the photos cannot be used, or nothing can be stored there.

    Example:
        >>> prepare_cache("photos", "model=resnet50", to="cache")  # doctest: +SKIP
    """
    target = {"data.cache_dir": str(Path(to).expanduser().absolute()), "data.cache": "disk"}
    given = read_overrides(*overrides, photos=photos)
    ignored = [f"{one.key}={one.shown}" for one in given.settings if one.value != target.get(one.key, one.value)]
    if ignored:
        raise ConfigError(f"{', '.join(ignored)} has no effect here: the images are stored in --to; leave it out")
    config = load_config(read_overrides(given, target))
    if config.model.name != AUTO:
        check_backbone_name(config.model.name)
    found = load_photos(config.data, config.seed, checking)
    if config.model.name == AUTO:
        config = _with_backbone(config, found)
    preprocessing = backbone_preprocessing(config.model.name, config.data.evaluation_size, config.data.crop_pct)
    preprocessing = preprocessing.decoded_as(config.data.decoding)
    with contextlib.closing(open_caches(found, config.data, preprocessing)) as caches:
        return _fill(caches, found, config.data, preprocessing, storing)


def _with_backbone(config: Config, photos: Photos) -> Config:
    """The configuration with the backbone that a training on these photos would choose."""
    accelerator = resolve_accelerator(config.trainer.accelerator)
    place, _ = decide_place(config.trainer, accelerator)
    return completed(config, choose(config, facts_of(config, photos, accelerator, place.world_size)).settings)


def _fill(
    caches: Caches, photos: Photos, config: DataConfig, preprocessing: Preprocessing, storing: Progress | None
) -> PreparedCache:
    side, decoding = reduced_side(config, preprocessing), config.decoding
    records, val_records = photos.records("train"), photos.records("val")

    def train_image(position: int) -> NDArray[np.uint8]:
        record = records[position]
        image = EncodedImage(read_image_bytes(record), str(record), decoding=decoding)
        return reduce_image(image, side or 0, preprocessing.interpolation)

    def val_image(position: int) -> NDArray[np.uint8]:
        return resized_for_evaluation(decode_image(val_records[position], decoding=decoding), preprocessing)

    num_made = 0
    if caches.train is not None and caches.train.cache is not None:
        num_made += fill_cache(caches.train.cache, train_image, storing)
    if caches.val.cache is not None:
        num_made += fill_cache(caches.val.cache, val_image, storing)
    opened = [choice.cache for choice in caches.choices if choice.cache is not None]
    if not opened:
        raise DataError("nothing can be kept: " + "; ".join(caches.messages))
    return PreparedCache(
        folder=Path(str(config.cache_dir)),
        num_made=num_made,
        num_stored=sum(cache.num_stored() for cache in opened),
        num_images=sum(len(photos.rows[split]) for split in ("train", "val")),
        messages=caches.messages,
        warnings=(*photos.warnings, *caches.opening_warnings(), *caches.new_warnings()),
    )
