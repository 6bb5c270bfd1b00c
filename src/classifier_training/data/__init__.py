"""Photos: found, checked, split, sampled, augmented and batched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_dir, lazy_names

if TYPE_CHECKING:
    from classifier_training.data.datamodule import ImageFolderDataModule as ImageFolderDataModule
    from classifier_training.data.photos import Photos as Photos
    from classifier_training.data.photos import load_photos as load_photos
    from classifier_training.data.sampler import TrackingWeightedRandomSampler as TrackingWeightedRandomSampler
    from classifier_training.data.weights import class_weights as class_weights
    from classifier_training.data.weights import sample_weights as sample_weights

_HOMES = {
    "ImageFolderDataModule": "datamodule",
    "Photos": "photos",
    "TrackingWeightedRandomSampler": "sampler",
    "class_weights": "weights",
    "load_photos": "photos",
    "sample_weights": "weights",
}

__all__ = sorted(_HOMES)

__getattr__ = lazy_names(__name__, _HOMES)
__dir__ = lazy_dir(_HOMES)
