"""What a training step costs here, side by side with a hand-written PyTorch loop.

    python benchmarks/training_step.py [--accelerator cpu] [--threads 2] [--steps 60] [--mixing]

Ours is a real `lightning.Trainer` with `BaseClassificationModel`, metrics, logging, progress, EMA and checkpoints on.
The loop does the least that trains the same weights in the same way: forward, backward, clipping, AdamW, schedule
and EMA; no metrics and no logging. Both take one step in turn, on the same synthetic batches (ResNet-18, 64 px, batch
32), so that what else the machine does hits both alike. A step of ours is everything between two batches that the
Trainer asks for. Times are medians; the ratio is the median of the ratios of neighbouring steps, once in the order
ours-loop and once in the order loop-ours.

With ``--mixing``: what mixup, CutMix and a learning rate for each layer add to a step (ResNet-18, 224 px, batch 16,
from uint8 images on), with and without them in turn.
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
from classifier_training.config.schema import DataConfig, OptimizerConfig
from classifier_training.data.loading.mixing import BatchMixer
from classifier_training.data.loading.normalize import normalize_batch
from classifier_training.models.backbone import head_parameters
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.optim import build_optimizer
from classifier_training.models.parameter_groups import parameter_groups
from classifier_training.models.schedule import build_scheduler
from classifier_training.models.settings import ModelSettings
from classifier_training.models.task import SingleLabelTask
from classifier_training.terminal.terminal import Terminal
from classifier_training.types import ClassificationBatch

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


class OwnStep:
    """A step of our model, from uint8 images to the optimizer, with or without what ``--mixing`` is about."""

    def __init__(self, device: torch.device, *, mixed: bool) -> None:
        torch.manual_seed(0)
        settings = ModelSettings(optimizer=OptimizerConfig(layer_decay=0.75 if mixed else None))
        self.model = BaseClassificationModel("resnet18", NUM_CLASSES, image_size=224, settings=settings).to(device)
        self.model.use_memory_format()
        backbone = self.model.backbone
        groups = parameter_groups(backbone, head_parameters(backbone), settings.optimizer, 1.0)
        self.optimizer = build_optimizer(groups, settings.optimizer)
        self.mixer = BatchMixer(DataConfig(mixup=0.8, cutmix=1.0), NUM_CLASSES, seed=0) if mixed else None

    def step(self, pixels: Tensor, labels: Tensor, number: int) -> None:
        """Trains on one batch."""
        batch = ClassificationBatch(images=pixels, labels=labels, indices=labels)
        mix = None if self.mixer is None else self.mixer.sample(0, number, len(labels), 224)
        if mix is not None:
            batch["mix"] = mix
        loss = self.model.training_step(normalize_batch(batch, self.model.preprocessing), number)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def report_mixing(device: torch.device, num_steps: int) -> None:
    """Measures and prints what mixing and layer decay add to a step."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (16, 3, 224, 224), generator=generator, dtype=torch.uint8)
    pixels = pixels.contiguous(memory_format=torch.channels_last).to(device)
    labels = torch.randint(NUM_CLASSES, (16,), generator=generator).to(device)
    variants = [OwnStep(device, mixed=mixed) for mixed in (False, True)]
    seconds: list[list[float]] = [[], []]
    for number in range(num_steps + 3):
        for variant, times in zip(variants, seconds, strict=True):
            start = time.perf_counter()
            variant.step(pixels, labels, number)
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    plain, mixed = (times[3:] for times in seconds)
    after, before = zip(mixed, plain, strict=True), zip(mixed, plain[1:], strict=False)
    ratio = statistics.median([mine / other for mine, other in (*after, *before)])
    for title, times in (("plain step", plain), ("with mixup, CutMix, layer decay", mixed)):
        print(f"{title:42}{statistics.median(times) * 1e3:8.1f} ms, fastest {min(times) * 1e3:8.1f} ms")
    print(f"ratio {ratio:.3f}, of the fastest {min(mixed) / min(plain):.3f}; target <= 1.02")


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
    parser.add_argument("--mixing", action="store_true", help="measure what mixing and layer decay add to a step")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.accelerator)
    what = "224 px, batch 16" if arguments.mixing else f"{IMAGE_SIZE} px, batch {BATCH_SIZE}"
    print(f"ResNet-18, {what}, {NUM_CLASSES} classes, {arguments.steps} steps each")
    hardware = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU"
    print(f"torch {torch.__version__}, lightning {lightning.__version__}, {hardware}, {arguments.threads} threads")
    if arguments.mixing:
        report_mixing(device, arguments.steps)
        return
    with tempfile.TemporaryDirectory() as folder:
        report(measure(device, arguments.steps + WARMUP_STEPS + 1, Path(folder)))


if __name__ == "__main__":
    main()
