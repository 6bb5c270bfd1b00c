"""Lightning callbacks, one concern a file; each works in anybody's Trainer unless it says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_names

if TYPE_CHECKING:
    from classifier_training.callbacks.cache_warnings import CacheWarnings as CacheWarnings
    from classifier_training.callbacks.checkpoint import AtomicCheckpointIO as AtomicCheckpointIO
    from classifier_training.callbacks.checkpoint import RunCheckpoint as RunCheckpoint
    from classifier_training.callbacks.ema import EMACallback as EMACallback
    from classifier_training.callbacks.graceful_stop import GracefulStop as GracefulStop
    from classifier_training.callbacks.metrics_csv import MetricsCSV as MetricsCSV
    from classifier_training.callbacks.onnx_export import ONNXExportCallback as ONNXExportCallback
    from classifier_training.callbacks.progress import TrainingProgress as TrainingProgress
    from classifier_training.callbacks.throughput import Throughput as Throughput

_HOMES = {
    "AtomicCheckpointIO": "checkpoint",
    "CacheWarnings": "cache_warnings",
    "EMACallback": "ema",
    "GracefulStop": "graceful_stop",
    "MetricsCSV": "metrics_csv",
    "ONNXExportCallback": "onnx_export",
    "RunCheckpoint": "checkpoint",
    "Throughput": "throughput",
    "TrainingProgress": "progress",
}

__all__ = sorted(_HOMES)

__getattr__ = lazy_names(__name__, _HOMES)
