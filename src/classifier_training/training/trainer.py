"""The Trainer of a run: devices, precision, and the callbacks in the order in which they act."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.strategies import DDPStrategy

from classifier_training.callbacks.cache_warnings import CacheWarnings
from classifier_training.callbacks.checkpoint import AtomicCheckpointIO, RunCheckpoint
from classifier_training.callbacks.confusion_matrix import ConfusionMatrixCallback
from classifier_training.callbacks.dataset_statistics import DatasetStatisticsCallback
from classifier_training.callbacks.ema import EMACallback
from classifier_training.callbacks.graceful_stop import GracefulStop
from classifier_training.callbacks.metrics_csv import MetricsCSV
from classifier_training.callbacks.model_info import ModelInfoCallback
from classifier_training.callbacks.predictions import PredictionsCallback
from classifier_training.callbacks.progress import TrainingProgress
from classifier_training.callbacks.report import ReportCallback
from classifier_training.callbacks.sample_visualization import SampleVisualizationCallback
from classifier_training.callbacks.sampler_distribution import SamplerDistributionCallback
from classifier_training.callbacks.throughput import Throughput
from classifier_training.callbacks.tracking import TrackingCallback
from classifier_training.callbacks.training_history import TrainingHistoryCallback
from classifier_training.config.schema import Config
from classifier_training.figures.rendering import PlottingBudget
from classifier_training.run.folder import RunFolder
from classifier_training.run.stop_requests import StopRequests
from classifier_training.terminal.terminal import Terminal
from classifier_training.tracking.trackers import Trackers
from classifier_training.training.plan import Plan


def build_trainer(
    run: RunFolder, plan: Plan, terminal: Terminal, requests: StopRequests, trackers: Trackers
) -> lightning.Trainer:
    """Makes the Trainer of a run; it writes nothing before it trains.

    Args:
        run: Where its callbacks write.
        plan: What it trains.
        terminal: Where it says how far it is.
        requests: What asks it to stop.
        trackers: Where metrics and figures go besides.
    """
    settings = plan.config.trainer
    return lightning.Trainer(
        accelerator=plan.accelerator,
        devices=_num_devices(plan),
        num_nodes=settings.num_nodes,
        strategy=_strategy(plan),
        sync_batchnorm=plan.accelerator == "cuda" and _num_devices(plan) * settings.num_nodes > 1,
        precision=settings.precision,  # type: ignore[arg-type]  # "auto" has been decided
        max_epochs=settings.max_epochs,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        gradient_clip_val=settings.gradient_clip_val,
        deterministic="warn" if settings.deterministic else False,
        benchmark=not settings.deterministic,
        callbacks=_callbacks(run, plan.config, terminal, requests, trackers),
        plugins=[AtomicCheckpointIO()],
        default_root_dir=run.root,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _callbacks(
    run: RunFolder, config: Config, terminal: Terminal, requests: StopRequests, trackers: Trackers
) -> list[Callback]:
    """In the order in which they act; Lightning puts checkpoints last."""
    throughput = Throughput(run.timings)
    callbacks: list[Callback] = [
        throughput,
        MetricsCSV(run.metrics),
        TrainingProgress(terminal, throughput),
        GracefulStop(requests),
        CacheWarnings(),
    ]
    if config.report.enabled:
        callbacks += _report_callbacks(run, config, terminal)
    callbacks.append(TrackingCallback(run.root, trackers))
    if config.ema.enabled:
        callbacks.insert(0, EMACallback(config.ema.decay, config.ema.warmup_steps))
    monitor, mode = config.checkpoint.monitor, config.checkpoint.mode
    if config.trainer.early_stopping_patience is not None:
        patience = config.trainer.early_stopping_patience
        callbacks.append(_EarlyStopping(monitor, patience=patience, mode=mode, check_on_train_epoch_end=True))
    settings = config.checkpoint
    callbacks.append(
        RunCheckpoint(
            run.checkpoints, monitor, mode, settings.every_n_steps, settings.every_n_minutes, settings.keep_last
        )
    )
    return callbacks


def _report_callbacks(run: RunFolder, config: Config, terminal: Terminal) -> list[Callback]:
    """What is looked at, in the order in which one needs the files of another."""
    budget = PlottingBudget()
    monitor, mode = config.checkpoint.monitor, config.checkpoint.mode
    return [
        ModelInfoCallback(run.model_info, terminal),
        DatasetStatisticsCallback(
            run.statistics, run.plots, terminal, budget, show_counts=False
        ),  # the plan shows them
        SamplerDistributionCallback(
            run.sampler_distribution,
            run.plots / "sampler_distribution.png",
            config.report.max_repeats,
            terminal,
            budget,
        ),
        PredictionsCallback(run.root),
        ConfusionMatrixCallback(run.root, budget),
        SampleVisualizationCallback(run.root, config.report.num_pictures, budget),
        TrainingHistoryCallback(run.plots / "history.png", run.metrics, run.timings, monitor, mode, budget),
        ReportCallback(run.root, budget),
    ]


class _EarlyStopping(EarlyStopping):
    """Lightning's, but a resumed run has the patience of its settings, not that of the checkpoint."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})


def _num_devices(plan: Plan) -> int:
    devices = plan.config.trainer.devices
    if isinstance(devices, int):
        return devices
    return torch.cuda.device_count() if plan.accelerator == "cuda" else 1


def _strategy(plan: Plan) -> Any:
    if _num_devices(plan) * plan.config.trainer.num_nodes == 1:
        return "auto"
    # the frozen backbone gets no gradients; the model shares its buffers itself, once before each evaluation
    return DDPStrategy(find_unused_parameters=bool(plan.config.model.freeze_epochs), broadcast_buffers=False)
