"""Reading an exported model and predicting with it; nothing here imports torch, builds a file or scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_dir, lazy_names

if TYPE_CHECKING:
    from classifier_training.inference.classifier import Classifier as Classifier
    from classifier_training.inference.predict import predict as predict

_HOMES = {"Classifier": "classifier", "predict": "predict"}

__all__ = sorted(_HOMES)

__getattr__ = lazy_names(__name__, _HOMES)
__dir__ = lazy_dir(_HOMES)
