"""What a training step costs here, side by side with a hand-written PyTorch loop.

    python benchmarks/training_step.py [--accelerator cpu] [--threads 2] [--steps 60]

Ours is a real `lightning.Trainer` with `BaseClassificationModel`, metrics, logging, progress, EMA and checkpoints on.
The loop does the least that trains the same weights in the same way: forward, backward, clipping, AdamW, schedule
and EMA; no metrics and no logging. Both take one step in turn, on the same synthetic batches (ResNet-18, 64 px, batch
32), so that what else the machine does hits both alike. A step of ours is everything between two batches that the
Trainer asks for. Times are medians; the ratio is the median of the ratios of neighbouring steps, once in the order
ours-loop and once in the order loop-ours.
"""

from __future__ import annotations

import argparse
import logging
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.callbacks.ema import EMACallback
from classifier_training.callbacks.graceful_stop import GracefulStop
from classifier_training.callbacks.metrics_csv import MetricsCSV
from classifier_training.callbacks.progress import TrainingProgress
from classifier_training.callbacks.throughput import Throughput
from classifier_training.models.backbone import head_parameters
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.optim import build_optimizer
from classifier_training.models.parameter_groups import parameter_groups
from classifier_training.models.schedule import build_scheduler
from classifier_training.models.settings import ModelSettings
from classifier_training.models.task import SingleLabelTask
from classifier_training.terminal.terminal import Terminal

IMAGE_SIZE, BATCH_SIZE, NUM_CLASSES = 64, 32, 10
DECAY = 0.9999
WARMUP_STEPS = 10
SETTINGS = ModelSettings()


def make_batch(index: int, device: torch.device) -> dict[str, Tensor]:
    """One of a few batches that are there already, so that no loading is measured."""
    generator = torch.Generator().manual_seed(index)
    images = torch.randn(BATCH_SIZE, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    labels = torch.randint(NUM_CLASSES, (BATCH_SIZE,), generator=generator)
    return {"images": images.to(device), "labels": labels.to(device), "indices": torch.arange(BATCH_SIZE)}


def make_model() -> BaseClassificationModel:
    """The same weights at every call."""
    torch.manual_seed(0)
    return BaseClassificationModel("resnet18", NUM_CLASSES, image_size=IMAGE_SIZE)


class HandWritten:
    """The training of a model as a plain loop; mixed precision where a ``dtype`` is given."""

    def __init__(
        self, model: BaseClassificationModel, device: torch.device, total_steps: int, dtype: torch.dtype | None = None
    ) -> None:
        self.backbone = model.backbone.to(device).to(memory_format=torch.channels_last).train()
        self.autocast = torch.autocast(device.type, dtype, enabled=dtype is not None)
        groups = parameter_groups(self.backbone, head_parameters(self.backbone), SETTINGS.optimizer, 1.0)
        self.optimizer = build_optimizer(groups, SETTINGS.optimizer, is_mixed=dtype is not None)
        self.scheduler = build_scheduler(self.optimizer, SETTINGS.scheduler, total_steps=total_steps, max_epochs=1)
        # in the optimizer's order: the norm is added up in it, and both must train the same weights to the last bit
        self.parameters = [value for group in self.optimizer.param_groups for value in group["params"]]
        values = [*self.backbone.parameters(), *self.backbone.buffers()]
        self.weights = [value.detach() for value in values if value.is_floating_point()]
        self.average = [weight.clone() for weight in self.weights]
        self.num_steps = 0

    def step(self, batch: dict[str, Tensor]) -> None:
        """Trains on one batch."""
        images = batch["images"].contiguous(memory_format=torch.channels_last)
        with self.autocast:
            logits = self.backbone(images).float()
            smoothing = SingleLabelTask.default_loss.label_smoothing
            loss = nn.functional.cross_entropy(logits, batch["labels"], label_smoothing=smoothing)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.scheduler.step()
        self.num_steps += 1
        decay = min(DECAY, (1 + self.num_steps) / (10 + self.num_steps))
        torch._foreach_lerp_(self.average, self.weights, 1.0 - decay)


class Alternating:
    """A loader that, whenever the Trainer asks for a batch, first lets the loop take its step, and times both."""

    def __init__(self, loop: HandWritten, device: torch.device, num_steps: int) -> None:
        self.loop, self.device, self.num_steps = loop, device, num_steps
        self.batches = [make_batch(index, device) for index in range(4)]
        self.ours: list[float] = []
        self.theirs: list[float] = []

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for number in range(self.num_steps):
            batch = self.batches[number % len(self.batches)]
            start = self._now()
            self.loop.step(batch)
            self.theirs.append(self._now() - start)
            start = self._now()
            yield batch
            self.ours.append(self._now() - start)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def measure(device: torch.device, num_steps: int, folder: Path) -> Alternating:
    """Trains both for one epoch."""
    loader = Alternating(HandWritten(make_model(), device, num_steps), device, num_steps)
    throughput = Throughput()
    callbacks: list[lightning.Callback] = [
        EMACallback(DECAY),
        throughput,
        MetricsCSV(folder / "metrics.csv"),
        TrainingProgress(Terminal(quiet=True), throughput),
        GracefulStop(),
        RunCheckpoint(folder, "val/top1"),
    ]
    settings: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    trainer = lightning.Trainer(
        accelerator=device.type,
        devices=1,
        max_epochs=1,
        gradient_clip_val=1.0,
        callbacks=callbacks,
        logger=False,
        default_root_dir=folder,
        **settings,
    )
    validation: DataLoader[Any] = DataLoader(cast("Any", loader.batches[:1]), batch_size=None)
    model = make_model()
    trainer.fit(model, loader, validation)
    pairs = zip(model.backbone.parameters(), loader.loop.backbone.parameters(), strict=True)
    difference = max(float((one - other).abs().max()) for one, other in pairs)
    print(f"largest difference between the weights that both have trained: {difference:g}")
    return loader


def report(measured: Alternating) -> float:
    """Prints the comparison and gives the ratio."""
    ours, theirs = (seconds[WARMUP_STEPS:] for seconds in (measured.ours, measured.theirs))
    # the last interval holds the end of the epoch, too
    ours, theirs = ours[:-1], theirs[: len(ours) - 1]
    after = zip(ours, theirs, strict=True)
    before = zip(ours, theirs[1:], strict=False)
    ratio = statistics.median([mine / other for mine, other in (*after, *before)])
    print(f"\n{'one step':42}{'median':>11}{'fastest':>11}")
    for title, seconds in (("Trainer, metrics, logging, EMA", ours), ("hand-written loop, EMA", theirs)):
        print(f"{title:42}{statistics.median(seconds) * 1e3:8.2f} ms{min(seconds) * 1e3:8.2f} ms")
    print(f"\n{'':42}{'median':>11}{'fastest':>11}{'target':>11}")
    print(f"{'Trainer / loop':42}{ratio:11.3f}{min(ours) / min(theirs):11.3f}{'<= 1.05':>11}")
    return ratio


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerator", choices=["cpu", "cuda"], default="cpu", help="where to train")
    parser.add_argument("--threads", type=int, default=2, help="torch's CPU threads")
    parser.add_argument("--steps", type=int, default=60, help="timed steps")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.accelerator)
    print(f"ResNet-18, {IMAGE_SIZE} px, batch {BATCH_SIZE}, {NUM_CLASSES} classes, {arguments.steps} steps each")
    hardware = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU"
    print(f"torch {torch.__version__}, lightning {lightning.__version__}, {hardware}, {arguments.threads} threads")
    with tempfile.TemporaryDirectory() as folder:
        report(measure(device, arguments.steps + WARMUP_STEPS + 1, Path(folder)))


if __name__ == "__main__":
    main()
