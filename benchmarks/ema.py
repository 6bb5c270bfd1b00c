"""What EMACallback costs, side by side with one flat `lerp_`, Lightning's EMAWeightAveraging and a plain copy.

    python benchmarks/ema.py [--model resnet50] [--threads 2] [--rounds 8]

Both callbacks work in one real Trainer and are timed hook to hook. The contenders take turns, some batches each, for
several rounds. "In turn" is the median over all batches but the first of a turn; "first" is the median over those
first ones, in which whatever the other contenders touched has pushed everything out of the caches. Run it on an idle
machine: where another process takes a core, every operation with more than one thread waits for it, and an update
has as many such operations as the model has large tensors.
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

TURN_BATCHES = 8
NUM_CONTENDERS = 5


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
    """Calls the hook of the contender whose turn it is and keeps the seconds it took."""

    def __init__(self, ours: EMACallback, theirs: EMAWeightAveraging) -> None:
        self.ours, self.theirs = ours, theirs
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @override
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ours.on_fit_start(trainer, pl_module)
        self.weights = [value for value in pl_module.state_dict().values() if value.is_floating_point()]
        self.copies = [torch.empty_like(value) for value in self.weights]
        num_values = sum(value.numel() for value in self.weights)
        self.flat_average, self.flat_weights = torch.zeros(num_values), torch.randn(num_values)
        print(f"{num_values:,} values in {len(self.weights)} tensors")

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ours.on_train_start(trainer, pl_module)

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        def swap_in_and_out() -> None:
            self.ours.on_validation_start(trainer, pl_module)
            self.ours.on_validation_end(trainer, pl_module)

        contenders: dict[str, Callable[[], object]] = {
            "ours": lambda: self.ours.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx),
            "flat": lambda: self.flat_average.lerp_(self.flat_weights, 1e-4),
            "lightning": lambda: self.theirs.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx),
            "swap": swap_in_and_out,
            "copy": lambda: torch._foreach_copy_(self.copies, self.weights),
        }
        name = list(contenders)[batch_idx // TURN_BATCHES % len(contenders)]
        start = time.perf_counter()
        contenders[name]()
        self.seconds[name].append(time.perf_counter() - start)


def measure(model: nn.Module, rounds: int) -> dict[str, list[float]]:
    """Seconds of every contender's calls, without those of the first round, which touch new memory."""
    ours, theirs = EMACallback(), EMAWeightAveraging()
    stopwatch, module = Stopwatch(ours, theirs), Untrained(model)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[stopwatch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    theirs.setup(trainer, module, "fit")
    trainer.fit(module, DataLoader(TensorDataset(torch.zeros((rounds + 1) * NUM_CONTENDERS * TURN_BATCHES, 1))))
    return {name: seconds[TURN_BATCHES:] for name, seconds in stopwatch.seconds.items()}


def medians(seconds: list[float]) -> tuple[float, float]:
    """The median over all calls but the first of a turn, and over the first."""
    first = seconds[::TURN_BATCHES]
    others = [value for index, value in enumerate(seconds) if index % TURN_BATCHES]
    return statistics.median(others), statistics.median(first)


def report(seconds: dict[str, list[float]]) -> None:
    """Prints the table and the three ratios with their targets."""
    titles = {
        "ours": "EMACallback, update",
        "flat": "one flat lerp_ over as many values",
        "lightning": "Lightning's EMAWeightAveraging(), update",
        "swap": "EMACallback, swap in and out",
        "copy": "one plain copy of the weights",
    }
    results = {name: medians(seconds[name]) for name in titles}
    print(f"\n{'':42}{'in turn':>10}{'first':>10}")
    for name, title in titles.items():
        print(f"{title:42}{results[name][0] * 1e3:7.2f} ms{results[name][1] * 1e3:7.2f} ms")
    print(f"\n{'':42}{'in turn':>10}{'first':>10}{'target':>10}")
    for title, over, under, target in (
        ("update / flat lerp_", "ours", "flat", "<= 1.2"),
        ("Lightning's update / update", "lightning", "ours", ">= 8"),
        ("swap in and out / plain copy", "swap", "copy", "<= 4"),
    ):
        ratios = [a / b for a, b in zip(results[over], results[under], strict=True)]
        print(f"{title:42}{ratios[0]:10.2f}{ratios[1]:10.2f}{target:>10}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50", help="timm model name")
    parser.add_argument("--threads", type=int, default=2, help="torch's CPU threads")
    parser.add_argument("--rounds", type=int, default=8, help="turns of every contender")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.model}, torch {torch.__version__}, lightning {lightning.__version__}, {platform.machine()} CPU")
    print(f"{torch.get_num_threads()} threads, {arguments.rounds} rounds of {TURN_BATCHES} batches")
    report(measure(timm.create_model(arguments.model), arguments.rounds))


if __name__ == "__main__":
    main()
