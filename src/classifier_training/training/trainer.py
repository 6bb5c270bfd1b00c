"""The Trainer of a run: devices, precision and callbacks."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy

from classifier_training.callbacks.checkpoint import AtomicCheckpointIO
from classifier_training.callbacks.table import RunContext, build_callbacks
from classifier_training.models.layer_sync import BatchNormSync
from classifier_training.run.folder import RunFolder
from classifier_training.run.place import ALONE, LOCALHOST, Place
from classifier_training.run.stop_requests import StopRequests
from classifier_training.terminal.terminal import Terminal
from classifier_training.tracking.trackers import Trackers
from classifier_training.training.plan import Plan


def build_trainer(
    run: RunFolder,
    plan: Plan,
    terminal: Terminal,
    requests: StopRequests,
    trackers: Trackers,
    place: Place = ALONE,
) -> lightning.Trainer:
    """Makes the Trainer of a run; it writes nothing before it trains.

    Args:
        run: Its folder.
        plan: What is trained.
        terminal: Where messages go.
        requests: To stop.
        trackers: Of the run.
        place: Of this process among those that train.
    """
    settings = plan.config.trainer
    return lightning.Trainer(
        devices=plan.num_devices,
        num_nodes=settings.num_nodes,
        strategy=_strategy(plan),
        accumulate_grad_batches=settings.accumulate_grad_batches,
        callbacks=build_callbacks(RunContext(run, plan.config, terminal, requests, trackers, plan.time)),
        plugins=[AtomicCheckpointIO(), JoinedProcesses(place), *_layer_sync(plan)],
        default_root_dir=run.root,
        **_options(plan),
    )


def trial_trainer(plan: Plan, callbacks: list[lightning.Callback], num_accumulated: int) -> lightning.Trainer:
    """Makes a Trainer for a few steps of a training in this process alone; it writes nothing and validates nothing.

    Args:
        plan: What is trained.
        callbacks: Those of the steps.
        num_accumulated: Batches of an optimizer step.
    """
    return lightning.Trainer(
        devices=1,
        accumulate_grad_batches=num_accumulated,
        callbacks=callbacks,
        plugins=[JoinedProcesses(ALONE)],
        limit_val_batches=0,
        enable_checkpointing=False,
        **_options(plan),
    )


def _options(plan: Plan) -> dict[str, Any]:
    """What the Trainer of a run has in common with that of its trial."""
    settings = plan.config.trainer
    return {
        "accelerator": plan.accelerator,
        "precision": settings.precision,  # "auto" has been decided
        "max_epochs": settings.num_epochs,
        "gradient_clip_val": None if settings.gradient_clip_algorithm == "agc" else settings.gradient_clip_val,
        "gradient_clip_algorithm": "value" if settings.gradient_clip_algorithm == "value" else None,
        "deterministic": "warn" if settings.deterministic else False,
        "benchmark": not settings.deterministic,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }


def _layer_sync(plan: Plan) -> list[BatchNormSync]:
    """BatchNorm over all devices, where there are several that can: torch has it for GPUs only."""
    is_shared = plan.num_devices * plan.config.trainer.num_nodes > 1
    return [BatchNormSync()] if is_shared and plan.accelerator == "cuda" else []


def _strategy(plan: Plan) -> Any:
    if plan.num_devices * plan.config.trainer.num_nodes == 1:
        return "auto"
    # the model shares its buffers itself, once before each evaluation; views save a copy of all gradients
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)


class JoinedProcesses(ClusterEnvironment):
    """Lets Lightning know the place of this process, in a process group that exists already.

    Lightning's own environments find out by themselves who has started the processes, and start some if nobody has.

    Args:
        place: Of this process.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning is to start none."""
        return True

    @property
    def main_address(self) -> str:
        """Address of the first process, where the process group was made."""
        return self.place.address or LOCALHOST

    @property
    def main_port(self) -> int:
        """Its port."""
        return self.place.port

    @staticmethod
    def detect() -> bool:
        """It is given, and not detected."""
        return False

    def world_size(self) -> int:
        """Number of processes."""
        return self.place.world_size

    def set_world_size(self, size: int) -> None:
        """It is what it is."""

    def global_rank(self) -> int:
        """This process among all."""
        return self.place.rank

    def set_global_rank(self, rank: int) -> None:
        """It is what it is."""

    def local_rank(self) -> int:
        """This process on its machine."""
        return self.place.local_rank

    def node_rank(self) -> int:
        """This machine."""
        return self.place.node_rank
