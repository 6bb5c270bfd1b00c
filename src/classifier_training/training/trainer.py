"""The Trainer of a run: devices, precision and callbacks."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy

from classifier_training.callbacks.checkpoint import AtomicCheckpointIO
from classifier_training.callbacks.table import RunContext, build_callbacks
from classifier_training.models.layer_sync import BatchNormSync
from classifier_training.run.folder import RunFolder
from classifier_training.run.stop_requests import StopRequests
from classifier_training.terminal.terminal import Terminal
from classifier_training.tracking.trackers import Trackers
from classifier_training.training.plan import Plan


def build_trainer(
    run: RunFolder, plan: Plan, terminal: Terminal, requests: StopRequests, trackers: Trackers
) -> lightning.Trainer:
    """Makes the Trainer of a run; it writes nothing before it trains."""
    settings = plan.config.trainer
    return lightning.Trainer(
        accelerator=plan.accelerator,
        devices=_num_devices(plan),
        num_nodes=settings.num_nodes,
        strategy=_strategy(plan),
        precision=settings.precision,  # type: ignore[arg-type]  # "auto" has been decided
        max_epochs=settings.max_epochs,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        gradient_clip_val=settings.gradient_clip_val,
        deterministic="warn" if settings.deterministic else False,
        benchmark=not settings.deterministic,
        callbacks=build_callbacks(RunContext(run, plan.config, terminal, requests, trackers)),
        plugins=[AtomicCheckpointIO(), *_layer_sync(plan)],
        default_root_dir=run.root,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _num_devices(plan: Plan) -> int:
    devices = plan.config.trainer.devices
    if isinstance(devices, int):
        return devices
    return torch.cuda.device_count() if plan.accelerator == "cuda" else 1


def _layer_sync(plan: Plan) -> list[BatchNormSync]:
    """BatchNorm over all devices, where there are several that can: torch has it for GPUs only."""
    is_shared = _num_devices(plan) * plan.config.trainer.num_nodes > 1
    return [BatchNormSync()] if is_shared and plan.accelerator == "cuda" else []


def _strategy(plan: Plan) -> Any:
    if _num_devices(plan) * plan.config.trainer.num_nodes == 1:
        return "auto"
    # the model shares its buffers itself, once before each evaluation; views save a copy of all gradients
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)
