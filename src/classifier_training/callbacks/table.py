"""The callbacks of a run, one row each, in the order in which they act."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

from lightning.pytorch.callbacks import Callback, EarlyStopping

from classifier_training.callbacks.accuracy_forecast import AccuracyForecast
from classifier_training.callbacks.adaptive_clipping import AdaptiveGradientClipping
from classifier_training.callbacks.batch_position import BatchPosition
from classifier_training.callbacks.cache_warnings import CacheWarnings
from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.callbacks.confusion_matrix import ConfusionMatrixCallback
from classifier_training.callbacks.dataset_statistics import DatasetStatisticsCallback
from classifier_training.callbacks.ema import EMACallback
from classifier_training.callbacks.graceful_stop import GracefulStop
from classifier_training.callbacks.loss_watch import LossWatch
from classifier_training.callbacks.memory_trial import MemoryTrial
from classifier_training.callbacks.metrics_csv import MetricsCSV
from classifier_training.callbacks.model_info import ModelInfoCallback
from classifier_training.callbacks.predictions import PredictionsCallback
from classifier_training.callbacks.progress import TrainingProgress
from classifier_training.callbacks.report import ReportCallback
from classifier_training.callbacks.sample_visualization import SampleVisualizationCallback
from classifier_training.callbacks.sampler_distribution import SamplerDistributionCallback
from classifier_training.callbacks.throughput import Throughput
from classifier_training.callbacks.time_limit import TimeLimit
from classifier_training.callbacks.tracking import TrackingCallback
from classifier_training.callbacks.training_history import TrainingHistoryCallback
from classifier_training.config.schema import Config
from classifier_training.figures.rendering import PlottingBudget
from classifier_training.run.folder import RunFolder
from classifier_training.run.stop_requests import StopRequests
from classifier_training.run.time_budget import TimeBudget
from classifier_training.terminal.terminal import Terminal
from classifier_training.tracking.trackers import Trackers


@dataclass(frozen=True)
class RunContext:
    """What the callbacks of one run are built from.

    Attributes:
        run: The folder that they write to.
        config: The configuration, with everything automatic decided.
        terminal: Where they print.
        requests: What asks the training to stop.
        trackers: Where metrics and figures are sent as well.
        time: The time of a training that has a limit.
        budget: The time that all plotting within the training shares.
    """

    run: RunFolder
    config: Config
    terminal: Terminal
    requests: StopRequests
    trackers: Trackers
    time: TimeBudget | None = None
    budget: PlottingBudget = field(default_factory=PlottingBudget)

    @cached_property
    def throughput(self) -> Throughput:
        """The one measurement of images per second, which others read."""
        return Throughput(self.run.timings, self.forecast)

    @cached_property
    def time_budget(self) -> TimeBudget:
        """The time of a training that has a limit."""
        return self.time or TimeBudget(self.config.trainer.time_limit_seconds or math.inf, time.monotonic())

    @cached_property
    def forecast(self) -> AccuracyForecast | None:
        """Where the training is going, which others show; None: no limit ends it."""
        trainer = self.config.trainer
        return None if trainer.time_limit is None else AccuracyForecast(self.time_budget, trainer.max_epochs)


class RunCallback(NamedTuple):
    """A row of the table.

    Attributes:
        kind: The class.
        build: Makes the callback of a run; it must not touch the disk.
        is_enabled: Whether a run with this configuration has the callback.
    """

    kind: type[Callback]
    build: Callable[[RunContext], Callback]
    is_enabled: Callable[[Config], bool] = lambda config: True  # noqa: ARG005 - the default of all rows


class _EarlyStopping(EarlyStopping):
    """Lightning's, but a resumed run has the patience of its settings, not that of the checkpoint."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})


def _has_time_limit(config: Config) -> bool:
    return config.trainer.time_limit is not None


def _has_report(config: Config) -> bool:
    return config.report.enabled


def _has_samples(config: Config) -> bool:
    return _has_report(config) and config.recipe.name != "probe"  # which looks at each image alike


CALLBACKS: Final[tuple[RunCallback, ...]] = (
    RunCallback(
        TimeLimit, lambda c: TimeLimit(c.time_budget, is_only_end=c.config.trainer.is_ended_by_clock), _has_time_limit
    ),
    RunCallback(
        AccuracyForecast,
        lambda c: c.forecast or AccuracyForecast(c.time_budget),  # there is one where there is a limit
        _has_time_limit,
    ),
    RunCallback(
        EMACallback,
        lambda c: EMACallback(c.config.ema.decay, c.config.ema.warmup_steps),
        lambda config: config.ema.enabled,
    ),
    RunCallback(
        AdaptiveGradientClipping,
        lambda c: AdaptiveGradientClipping(c.config.trainer.gradient_clip_val or 0.0),
        lambda config: config.trainer.gradient_clip_algorithm == "agc",
    ),
    RunCallback(Throughput, lambda c: c.throughput),
    RunCallback(MetricsCSV, lambda c: MetricsCSV(c.run.metrics)),
    RunCallback(TrainingProgress, lambda c: TrainingProgress(c.terminal, c.throughput, c.time, c.forecast)),
    RunCallback(GracefulStop, lambda c: GracefulStop(c.requests)),
    RunCallback(LossWatch, lambda _: LossWatch()),
    RunCallback(BatchPosition, lambda _: BatchPosition()),
    RunCallback(MemoryTrial, lambda c: MemoryTrial(c.config.data.images_per_batch, c.config.data.image_size)),
    RunCallback(CacheWarnings, lambda _: CacheWarnings()),
    RunCallback(ModelInfoCallback, lambda c: ModelInfoCallback(c.run.model_info, c.terminal), _has_report),
    RunCallback(
        DatasetStatisticsCallback,  # the plan has printed the counts
        lambda c: DatasetStatisticsCallback(c.run.statistics, c.run.plots, c.terminal, c.budget, show_counts=False),
        _has_report,
    ),
    RunCallback(
        SamplerDistributionCallback,
        lambda c: SamplerDistributionCallback(
            c.run.sampler_distribution,
            c.run.sampler_distribution_figure,
            c.config.report.max_repeats,
            c.terminal,
            c.budget,
        ),
        _has_samples,
    ),
    RunCallback(PredictionsCallback, lambda c: PredictionsCallback(c.run.root), _has_report),
    RunCallback(ConfusionMatrixCallback, lambda c: ConfusionMatrixCallback(c.run.root, c.budget), _has_report),
    RunCallback(
        SampleVisualizationCallback,
        lambda c: SampleVisualizationCallback(c.run.root, c.config.report.num_pictures, c.budget),
        _has_report,
    ),
    RunCallback(
        TrainingHistoryCallback,
        lambda c: TrainingHistoryCallback(
            c.run.history_figure,
            c.run.metrics,
            c.run.timings,
            c.config.checkpoint.monitor,
            c.config.checkpoint.mode,
            c.budget,
        ),
        _has_report,
    ),
    RunCallback(ReportCallback, lambda c: ReportCallback(c.run.root, c.budget), _has_report),
    RunCallback(TrackingCallback, lambda c: TrackingCallback(c.run.root, c.trackers)),
    RunCallback(
        _EarlyStopping,
        lambda c: _EarlyStopping(
            c.config.checkpoint.monitor,
            patience=c.config.trainer.early_stopping_patience or 0,
            mode=c.config.checkpoint.mode,
            check_on_train_epoch_end=True,
        ),
        lambda config: config.trainer.early_stopping_patience is not None,
    ),
    RunCallback(
        RunCheckpoint,
        lambda c: RunCheckpoint(
            c.run.checkpoints,
            c.config.checkpoint.monitor,
            c.config.checkpoint.mode,
            c.config.checkpoint.every_n_steps,
            c.config.checkpoint.every_n_minutes,
            c.config.checkpoint.keep_last,
            c.config.checkpoint.num_best_epochs,
        ),
    ),
)
"""What reads a file of the run comes after what writes it; Lightning moves checkpoints to the end."""


def build_callbacks(context: RunContext) -> list[Callback]:
    """The callbacks that a run has by its configuration, in the order of the table."""
    return [row.build(context) for row in CALLBACKS if row.is_enabled(context.config)]
