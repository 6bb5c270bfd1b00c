"""What EMACallback costs, side by side with one flat `lerp_`, Lightning's EMAWeightAveraging and a plain copy.

    python benchmarks/ema.py [--model resnet50] [--threads 2] [--repeats 50]

Both callbacks sit in one real Trainer and are timed in the same batches, hook to hook, one after the other, so that
what else the machine does hits all of them alike. Times are medians; a ratio is the median of the ratios within a
batch.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import lightning
import lightning.pytorch as pl
import timm
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from typing_extensions import override

from classifier_training.callbacks.ema import EMACallback

WARMUP_BATCHES = 5


class Untrained(pl.LightningModule):
    """Holds a model and makes optimizer steps that cost next to nothing: only the updates are of interest."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.scale = nn.Parameter(torch.ones(1))

    @override
    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.scale.sum()

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class Stopwatch(pl.Callback):
    """Calls each contender's hook once a batch and keeps the seconds it took."""

    def __init__(self, ours: EMACallback, theirs: EMAWeightAveraging) -> None:
        self.ours, self.theirs = ours, theirs
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @override
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ours.on_fit_start(trainer, pl_module)
        values = [value.detach() for value in pl_module.state_dict().values() if value.is_floating_point()]
        num_values = sum(value.numel() for value in values)
        self.flat_average, self.flat_weights = torch.zeros(num_values), torch.randn(num_values)
        self.weights, self.copies = values, [torch.empty_like(value) for value in values]
        print(f"{num_values:,} values in {len(values)} tensors")

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ours.on_train_start(trainer, pl_module)

    @override
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *arguments: Any) -> None:
        hook_arguments = (trainer, pl_module, *arguments)

        def swap_in_and_out() -> None:
            self.ours.on_validation_start(trainer, pl_module)
            self.ours.on_validation_end(trainer, pl_module)

        contenders: dict[str, Callable[[], object]] = {
            "lightning": lambda: self.theirs.on_train_batch_end(*hook_arguments),
            "flat": lambda: self.flat_average.lerp_(self.flat_weights, 1e-4),
            "ours": lambda: self.ours.on_train_batch_end(*hook_arguments),
            "copy": lambda: torch._foreach_copy_(self.copies, self.weights),
            "swap": swap_in_and_out,
        }
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender()
            self.seconds[name].append(time.perf_counter() - start)


def measure(model: nn.Module, repeats: int) -> dict[str, list[float]]:
    """Seconds of every contender in every batch after the first few, which touch new memory."""
    ours, theirs = EMACallback(), EMAWeightAveraging()
    stopwatch = Stopwatch(ours, theirs)
    module = Untrained(model)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=repeats + WARMUP_BATCHES,
        callbacks=[stopwatch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    theirs.setup(trainer, module, "fit")
    trainer.fit(module, DataLoader(TensorDataset(torch.zeros(repeats + WARMUP_BATCHES, 1))))
    return {name: seconds[WARMUP_BATCHES:] for name, seconds in stopwatch.seconds.items()}


def report(seconds: dict[str, list[float]]) -> None:
    """Prints the table and the three ratios with their targets."""
    titles = {
        "ours": "EMACallback, update",
        "flat": "one flat lerp_ over as many values",
        "lightning": "Lightning's EMAWeightAveraging(), update",
        "swap": "EMACallback, swap in and out",
        "copy": "one plain copy of the weights",
    }
    print(f"\n{'':42}{'median':>10}{'fastest':>10}")
    for name, title in titles.items():
        print(f"{title:42}{statistics.median(seconds[name]) * 1e3:7.2f} ms{min(seconds[name]) * 1e3:7.2f} ms")
    print(f"\n{'':42}{'median':>10}{'target':>10}")
    for title, over, under, target in (
        ("update / flat lerp_", "ours", "flat", "<= 1.2"),
        ("Lightning's update / update", "lightning", "ours", ">= 8"),
        ("swap in and out / plain copy", "swap", "copy", "<= 4"),
    ):
        ratios = [a / b for a, b in zip(seconds[over], seconds[under], strict=True)]
        print(f"{title:42}{statistics.median(ratios):10.2f}{target:>10}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50", help="timm model name")
    parser.add_argument("--threads", type=int, default=2, help="torch's CPU threads")
    parser.add_argument("--repeats", type=int, default=50, help="timed batches")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    print(
        f"{arguments.model}, torch {torch.__version__}, lightning {lightning.__version__}, {platform.machine()} CPU,",
        end=" ",
    )
    print(f"{torch.get_num_threads()} threads, {arguments.repeats} repeats")
    report(measure(timm.create_model(arguments.model), arguments.repeats))


if __name__ == "__main__":
    main()
