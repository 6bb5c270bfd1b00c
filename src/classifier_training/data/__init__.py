"""Everything between a folder of photos and a batch on the device; nothing that knows a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_names

if TYPE_CHECKING:
    from classifier_training.data.datamodule import ImageFolderDataModule as ImageFolderDataModule
    from classifier_training.data.photos import Photos as Photos
    from classifier_training.data.photos import load_photos as load_photos
    from classifier_training.data.sampling.sampler import TrackingWeightedRandomSampler as TrackingWeightedRandomSampler
    from classifier_training.data.sampling.weights import class_weights as class_weights
    from classifier_training.data.sampling.weights import sample_weights as sample_weights

_HOMES = {
    "ImageFolderDataModule": "datamodule",
    "Photos": "photos",
    "TrackingWeightedRandomSampler": "sampling.sampler",
    "class_weights": "sampling.weights",
    "load_photos": "photos",
    "sample_weights": "sampling.weights",
}

__all__, __getattr__, __dir__ = lazy_names(__name__, _HOMES)
