"""What a batch costs to load, to train on and to score, measured in a few real steps on a copy of the model."""

from __future__ import annotations

import copy
import statistics
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, cast

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from classifier_training.callbacks.adaptive_clipping import AdaptiveGradientClipping
from classifier_training.callbacks.ema import EMACallback
from classifier_training.config.schema import OptimizerConfig
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.data.loading.dataset import TrainDataset
from classifier_training.data.sampling.batches import EpochBatchSampler, SampledIndices
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.precision import Precision, arithmetic
from classifier_training.run.freed_memory import keep_freed_memory
from classifier_training.training.plan import Plan
from classifier_training.training.trainer import trial_trainer
from classifier_training.types import ClassificationBatch

LONGEST_MEASUREMENT: Final = 3.0
"""Seconds after which no further step is measured."""
MEASURED_STEPS: Final = 4
MOST_ACCUMULATED: Final = 4
"""Batches of a measured step at most; of more, the optimizer's part is small."""


@dataclass(frozen=True, slots=True)
class BatchCosts:
    """Seconds of a batch.

    Attributes:
        decoding: To load it in one process from its files, as in the first epoch.
        loading: The same where decoded images are in the image cache.
        training: To train on it, with its share of an optimizer step.
        scoring: To predict it.
        num_cpus: CPUs that training and scoring keep busy meanwhile.
    """

    decoding: float
    loading: float
    training: float
    scoring: float
    num_cpus: float = 1.0


def measure_batches(plan: Plan, model: BaseClassificationModel, batch_size: int) -> BatchCosts:
    """Measures a few steps with the optimizer, the average and whatever else a step of this training has.

    Nothing is written, and the random numbers of this process stay as they are.

    Args:
        plan: What is trained.
        model: What is to be trained; it is left alone.
        batch_size: Images of a batch.
    """
    if plan.accelerator == "cpu":
        keep_freed_memory()  # as the training does, whose steps it makes faster
    with torch.random.fork_rng([torch.cuda.current_device()] if plan.accelerator == "cuda" else []):
        data = _data(plan, batch_size)
        batch, decoding, loading = _load(plan, data)
        trial = copy.deepcopy(model, {id(model.distillation): model.distillation})
        optimizer = model.settings.optimizer
        if optimizer.lr == "find":  # which costs no more than any other one
            optimizer = optimizer.model_copy(update={"lr": OptimizerConfig().peak_lr})
        changed = {"compile": False, "freeze_epochs": 0, "optimizer": optimizer}
        trial.settings = model.settings.model_copy(update=changed)
        training, num_cpus = _train(plan, trial, data, batch)
        return BatchCosts(decoding, loading, training, _score(plan, trial, data, batch), num_cpus)


class _Kept(dict[int, NDArray[np.uint8]]):
    """An image cache in memory."""

    def put(self, position: int, pixels: NDArray[np.uint8]) -> None:
        self[position] = pixels


def _data(plan: Plan, batch_size: int) -> ImageFolderDataModule:
    settings = {"batch_size": batch_size, "num_workers": 0, "cache": "none"}
    data = ImageFolderDataModule(
        config=plan.config.data.model_copy(update=settings),
        preprocessing=plan.preprocessing,
        seed=plan.config.seed,
        photos=plan.photos,
    )
    data.expected_epochs = plan.config.trainer.num_epochs
    return data


def _load(plan: Plan, data: ImageFolderDataModule) -> tuple[ClassificationBatch, float, float]:
    """A batch of images of their full size, and how long it takes from files and from a cache."""
    loader: Any = data.train_dataloader()
    dataset, batches = cast("TrainDataset", loader.dataset), cast("EpochBatchSampler", loader.batch_sampler)
    if plan.config.data.cache != "none":
        dataset.cache = _Kept()
    samples = batches.sampled(0 if dataset.sizes is None else dataset.sizes.num_growing, 1)
    dataset.__getitems__(SampledIndices(samples.epoch, samples.positions[:1], samples.indices[:1]))  # what is imported
    taken = []
    for _ in range(2):
        started = time.monotonic()
        batch = dataset.__getitems__(samples)
        taken.append(time.monotonic() - started)
    return batch, max(taken), taken[-1]


def _train(
    plan: Plan, trial: BaseClassificationModel, data: ImageFolderDataModule, batch: ClassificationBatch
) -> tuple[float, float]:
    """Seconds of a batch that is trained on, and how many CPUs it keeps busy."""
    ema, settings = plan.config.ema, plan.config.trainer
    num_accumulated = min(settings.accumulate_grad_batches, MOST_ACCUMULATED)
    stopwatch = _Stopwatch(num_accumulated)
    callbacks: list[lightning.Callback] = [EMACallback(ema.decay, ema.warmup_steps)] if ema.enabled else []
    if settings.gradient_clip_algorithm == "agc":
        callbacks.append(AdaptiveGradientClipping(settings.gradient_clip_val or 0.0))
    batches = [batch] * (num_accumulated * (1 + MEASURED_STEPS) + 1)  # the last one of which is not reached
    loader = DataLoader(cast("Dataset[Any]", batches), batch_size=None)
    vars(data)["train_dataloader"] = lambda: loader
    trainer = trial_trainer(plan, [*callbacks, stopwatch], num_accumulated)
    try:
        trainer.fit(trial, datamodule=data)
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None
    return stopwatch.seconds / num_accumulated, stopwatch.num_cpus


class _Stopwatch(lightning.Callback):
    """Measures optimizer steps, the first one aside, in which much is made for all that follow; then it stops.

    Where the first step alone takes longer than everything should, it has to do.
    """

    def __init__(self, num_accumulated: int) -> None:
        self._num_accumulated = num_accumulated
        self._ends: list[tuple[float, float]] = []

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 - Lightning's
        pl_module: lightning.LightningModule,  # noqa: ARG002 - Lightning's
        batch: Any,  # noqa: ARG002 - Lightning's
        batch_idx: int,
    ) -> None:
        """Notes when the first step began."""
        if batch_idx == 0:
            self._ends = [(time.monotonic(), time.process_time())]

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,  # noqa: ARG002 - Lightning's
        batch: Any,  # noqa: ARG002 - Lightning's
        batch_idx: int,
    ) -> None:
        """Notes the time at the end of a step."""
        if (batch_idx + 1) % self._num_accumulated:
            return
        _wait_for(pl_module.device)
        self._ends.append((time.monotonic(), time.process_time()))
        trainer.should_stop = _is_enough([end for end, _ in self._ends])

    @property
    def seconds(self) -> float:
        """Of a step."""
        return _usual([later - earlier for (earlier, _), (later, _) in pairwise(self._ends)])

    @property
    def num_cpus(self) -> float:
        """CPUs that were busy, at least one."""
        (first_wall, first_cpu), (last_wall, last_cpu) = self._ends[0], self._ends[-1]
        return max(1.0, (last_cpu - first_cpu) / max(last_wall - first_wall, 1e-6))


def _is_enough(ends: list[float]) -> bool:
    """Whether no further step is measured, by when the first one began and when each ended."""
    taken = ends[-1] - ends[1]
    is_slow = ends[1] - ends[0] > 2 * LONGEST_MEASUREMENT
    return is_slow or len(ends) == 2 + MEASURED_STEPS or (len(ends) > 2 and taken > LONGEST_MEASUREMENT)


def _usual(taken: list[float]) -> float:
    """What a step takes usually, by several, or by the first alone."""
    return statistics.median(taken[1:] or taken)


@torch.no_grad()
def _score(
    plan: Plan, trial: BaseClassificationModel, data: ImageFolderDataModule, batch: ClassificationBatch
) -> float:
    """Seconds of a batch that is predicted."""
    device = torch.device(plan.accelerator)
    precision = cast("Precision", plan.config.trainer.precision)  # "auto" has been decided
    trial.to(device).eval()
    on_device = ClassificationBatch(images=batch["images"].to(device), labels=batch["labels"], indices=batch["indices"])
    images = data.on_after_batch_transfer(on_device, 0)["images"]
    ends = [time.monotonic()]
    while len(ends) < 2 or not _is_enough(ends):
        with arithmetic(device, precision):
            trial(images)
        _wait_for(device)
        ends.append(time.monotonic())
    return _usual([later - earlier for earlier, later in pairwise(ends)])


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
