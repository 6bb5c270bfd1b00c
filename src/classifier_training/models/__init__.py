"""Backbones, losses, optimizers and the one LightningModule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_names

if TYPE_CHECKING:
    from classifier_training.models.base import BaseClassificationModel as BaseClassificationModel
    from classifier_training.models.checkpoint import load_model as load_model
    from classifier_training.models.checkpoint_classifier import CheckpointClassifier as CheckpointClassifier
    from classifier_training.models.losses import ClassificationLoss as ClassificationLoss
    from classifier_training.models.losses import focal_loss as focal_loss

_HOMES = {
    "BaseClassificationModel": "base",
    "CheckpointClassifier": "checkpoint_classifier",
    "ClassificationLoss": "losses",
    "focal_loss": "losses",
    "load_model": "checkpoint",
}

__all__, __getattr__, __dir__ = lazy_names(__name__, _HOMES)
