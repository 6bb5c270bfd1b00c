"""The names that users rely on. Adding one here is a promise; removing one breaks somebody."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path

import pytest

PUBLIC = {
    "classifier_training": [
        "ClassificationBatch",
        "CrossValidation",
        "Evaluation",
        "Prediction",
        "Preprocessing",
        "TrainResult",
        "compare",
        "cross_validate",
        "evaluate",
        "export",
        "predict",
        "report",
        "train",
    ],
    "classifier_training.data": [
        "ImageFolderDataModule",
        "Photos",
        "TrackingWeightedRandomSampler",
        "class_weights",
        "load_photos",
        "sample_weights",
    ],
    "classifier_training.cli": ["main"],
    "classifier_training.data.packing": ["prepare"],
    "classifier_training.evaluation": ["Evaluation", "evaluate"],
    "classifier_training.exporters": ["export"],
    "classifier_training.inference": ["Classifier", "OnnxClassifier", "predict"],
    "classifier_training.pages": ["compare", "report"],
    "classifier_training.training": ["CrossValidation", "TrainResult", "cross_validate", "train"],
    "classifier_training.models": [
        "BaseClassificationModel",
        "CheckpointClassifier",
        "ClassificationLoss",
        "focal_loss",
        "load_model",
    ],
    "classifier_training.callbacks": [
        "AtomicCheckpointIO",
        "CacheWarnings",
        "ConfusionMatrixCallback",
        "DatasetStatisticsCallback",
        "EMACallback",
        "GracefulStop",
        "MetricsCSV",
        "ModelInfoCallback",
        "ONNXExportCallback",
        "PredictionsCallback",
        "ReportCallback",
        "RunCheckpoint",
        "SampleVisualizationCallback",
        "SamplerDistributionCallback",
        "Throughput",
        "TrackingCallback",
        "TrainingHistoryCallback",
        "TrainingProgress",
    ],
}
NAMES = [(package, name) for package, names in PUBLIC.items() for name in names]


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_are_these(package: str) -> None:
    assert sorted(importlib.import_module(package).__all__) == PUBLIC[package]


OLDER_NAMES = {"OnnxClassifier": "Classifier"}


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_a_public_name_is_there_and_documented(package: str, name: str) -> None:
    value = getattr(importlib.import_module(package), name)
    assert value.__name__ == OLDER_NAMES.get(name, name)
    assert inspect.getdoc(value)


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_a_submodule_does_not_hide_the_function_of_its_name(package: str, name: str) -> None:
    if importlib.util.find_spec(f"{package}.{name}") is not None:
        importlib.import_module(f"{package}.{name}")
    assert not inspect.ismodule(getattr(importlib.import_module(package), name))


@pytest.mark.parametrize("package", PUBLIC)
def test_type_checkers_see_the_same_names(package: str) -> None:
    """The names are imported lazily, so there are two lists of them."""
    source = Path(inspect.getfile(importlib.import_module(package))).read_text(encoding="utf-8")
    blocks = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.asname: f"{node.module}.{alias.name}" for node in imports for alias in node.names}
    assert sorted(name for name in seen if name) == PUBLIC[package]
    for name, origin in seen.items():
        module, _, attribute = origin.rpartition(".")
        assert getattr(importlib.import_module(module), attribute) is getattr(
            importlib.import_module(package), str(name)
        )


@pytest.mark.parametrize("package", PUBLIC)
def test_a_name_that_is_not_there_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        importlib.import_module(package).nothing  # noqa: B018
