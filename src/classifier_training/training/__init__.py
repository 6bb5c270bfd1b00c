"""The public `train`: plan, start or resume, trainer, finish; the parts it is made of live in the rooms below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_names

if TYPE_CHECKING:
    from classifier_training.training.cross_validate import CrossValidation as CrossValidation
    from classifier_training.training.cross_validate import cross_validate as cross_validate
    from classifier_training.training.finish import TrainResult as TrainResult
    from classifier_training.training.train import train as train

_HOMES = {
    "CrossValidation": "cross_validate",
    "TrainResult": "finish",
    "cross_validate": "cross_validate",
    "train": "train",
}

__all__, __getattr__, __dir__ = lazy_names(__name__, _HOMES)
