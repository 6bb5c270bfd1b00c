"""Train an image classifier on a folder of labelled photos, score it, and export it as a verified ONNX model.

    from classifier_training import train, evaluate, export, predict

Names are imported on first access, so that predicting with an exported model never imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_names

if TYPE_CHECKING:
    from classifier_training.evaluation.evaluate import Evaluation as Evaluation
    from classifier_training.evaluation.evaluate import evaluate as evaluate
    from classifier_training.exporters.export import export as export
    from classifier_training.inference.predict import predict as predict
    from classifier_training.pages.write import compare as compare
    from classifier_training.pages.write import report as report
    from classifier_training.training.cross_validate import CrossValidation as CrossValidation
    from classifier_training.training.cross_validate import cross_validate as cross_validate
    from classifier_training.training.finish import TrainResult as TrainResult
    from classifier_training.training.train import train as train
    from classifier_training.types import ClassificationBatch as ClassificationBatch
    from classifier_training.types import Prediction as Prediction
    from classifier_training.types import Preprocessing as Preprocessing

_HOMES = {
    "ClassificationBatch": "types",
    "CrossValidation": "training.cross_validate",
    "Evaluation": "evaluation.evaluate",
    "Prediction": "types",
    "Preprocessing": "types",
    "TrainResult": "training.finish",
    "compare": "pages.write",
    "cross_validate": "training.cross_validate",
    "evaluate": "evaluation.evaluate",
    "export": "exporters.export",
    "predict": "inference.predict",
    "report": "pages.write",
    "train": "training.train",
}

__version__ = "0.1.0"
__all__, __getattr__, __dir__ = lazy_names(__name__, _HOMES, "__version__")
