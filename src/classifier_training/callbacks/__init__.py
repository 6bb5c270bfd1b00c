"""Lightning callbacks, one concern a file, each usable in any Trainer; `table` lists those of a run.

What runs outside of `Trainer.fit` does not belong here, nor does the computation behind a callback: figures, tables,
metrics and weight averages live in the packages that `table` and the callbacks import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_names

if TYPE_CHECKING:
    from classifier_training.callbacks.cache_warnings import CacheWarnings as CacheWarnings
    from classifier_training.callbacks.checkpoint import AtomicCheckpointIO as AtomicCheckpointIO
    from classifier_training.callbacks.checkpoint import RunCheckpoint as RunCheckpoint
    from classifier_training.callbacks.confusion_matrix import ConfusionMatrixCallback as ConfusionMatrixCallback
    from classifier_training.callbacks.dataset_statistics import DatasetStatisticsCallback as DatasetStatisticsCallback
    from classifier_training.callbacks.ema import EMACallback as EMACallback
    from classifier_training.callbacks.graceful_stop import GracefulStop as GracefulStop
    from classifier_training.callbacks.metrics_csv import MetricsCSV as MetricsCSV
    from classifier_training.callbacks.model_info import ModelInfoCallback as ModelInfoCallback
    from classifier_training.callbacks.onnx_export import ONNXExportCallback as ONNXExportCallback
    from classifier_training.callbacks.predictions import PredictionsCallback as PredictionsCallback
    from classifier_training.callbacks.progress import TrainingProgress as TrainingProgress
    from classifier_training.callbacks.report import ReportCallback as ReportCallback
    from classifier_training.callbacks.sample_visualization import (
        SampleVisualizationCallback as SampleVisualizationCallback,
    )
    from classifier_training.callbacks.sampler_distribution import (
        SamplerDistributionCallback as SamplerDistributionCallback,
    )
    from classifier_training.callbacks.throughput import Throughput as Throughput
    from classifier_training.callbacks.tracking import TrackingCallback as TrackingCallback
    from classifier_training.callbacks.training_history import TrainingHistoryCallback as TrainingHistoryCallback

_HOMES = {
    "AtomicCheckpointIO": "checkpoint",
    "CacheWarnings": "cache_warnings",
    "ConfusionMatrixCallback": "confusion_matrix",
    "DatasetStatisticsCallback": "dataset_statistics",
    "EMACallback": "ema",
    "GracefulStop": "graceful_stop",
    "MetricsCSV": "metrics_csv",
    "ModelInfoCallback": "model_info",
    "ONNXExportCallback": "onnx_export",
    "PredictionsCallback": "predictions",
    "ReportCallback": "report",
    "RunCheckpoint": "checkpoint",
    "SampleVisualizationCallback": "sample_visualization",
    "SamplerDistributionCallback": "sampler_distribution",
    "Throughput": "throughput",
    "TrackingCallback": "tracking",
    "TrainingHistoryCallback": "training_history",
    "TrainingProgress": "progress",
}

__all__, __getattr__, __dir__ = lazy_names(__name__, _HOMES)
