"""Reading an exported model and predicting with it; nothing here imports torch, builds a file or scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_names

if TYPE_CHECKING:
    from classifier_training.inference.classifier import Classifier as Classifier
    from classifier_training.inference.classifier import OnnxClassifier as OnnxClassifier
    from classifier_training.inference.predict import predict as predict

__all__, __getattr__, __dir__ = lazy_names(
    __name__, {"Classifier": "classifier", "OnnxClassifier": "classifier", "predict": "predict"}
)
