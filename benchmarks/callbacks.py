"""What looking at a run costs: a training with report, figures and tables, and the same training without them.

    python benchmarks/callbacks.py [PHOTOS] [--photos 2000] [--epochs 3] [--rounds 5] [--accelerator cpu]

ResNet-18 at 224 px is trained on PHOTOS (one folder a class), or on as many made-up JPEGs. ``report.enabled=true`` and
``report.enabled=false`` take turns, and the one that begins changes from round to round, so that what else the machine
does hits both alike; a training before the first round fills the caches and is not counted. The time is that of
``Trainer.fit``: training, validation, checkpoints, and what is drawn at the end. The overhead is the median over the
rounds of with / without - 1. A last training, with Lightning's profiler on, tells what each callback took: on a GPU
these are the times of the processor, in which the device goes on working.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Self

import lightning
import numpy as np
import torch
from lightning.pytorch.profilers import SimpleProfiler
from PIL import Image

from classifier_training import train
from classifier_training.figures.drawing import DrawingBudget

TARGET = 0.03
NUM_CLASSES = 10
SETTINGS = [
    "model.name=resnet18",
    "model.pretrained=false",
    "data.image_size=224",
    "export.enabled=false",
    "tracking.tensorboard=false",
]

_TRAINER: Any = lightning.Trainer


class TimedTrainer:
    """Stands in the way of `lightning.Trainer.fit` and keeps its seconds and its Trainer.

    Args:
        profiled: Whether to let Lightning's profiler watch every callback, which costs time itself.
    """

    def __init__(self, *, profiled: bool = False) -> None:
        self.profiler = SimpleProfiler() if profiled else None
        self.seconds = 0.0
        self.trainer: Any = None

    def __enter__(self) -> Self:
        self._fit = _TRAINER.fit

        def fit(trainer: Any, *arguments: Any, **options: Any) -> None:
            if self.profiler is not None:
                trainer.profiler = self.profiler
            started = time.perf_counter()
            self._fit(trainer, *arguments, **options)
            self.seconds, self.trainer = time.perf_counter() - started, trainer

        _TRAINER.fit = fit
        return self

    def __exit__(self, *error: object) -> None:
        _TRAINER.fit = self._fit

    @property
    def drawing_seconds(self) -> float:
        """What all drawing together took, by the budgets of the callbacks."""
        budgets = {id(budget): budget for budget in map(_budget, self.trainer.callbacks) if budget is not None}
        return sum(budget.spent for budget in budgets.values())

    def seconds_by_callback(self) -> dict[str, float]:
        """Seconds of each callback over all of its hooks, the slowest one first."""
        seconds: defaultdict[str, float] = defaultdict(float)
        for action, durations in self.profiler.recorded_durations.items() if self.profiler is not None else ():
            if action.startswith("[Callback]"):
                seconds[action.removeprefix("[Callback]").partition(".")[0].partition("{")[0]] += sum(durations)
        return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def make_photos(folder: Path, count: int) -> Path:
    """Writes smooth, noisy JPEGs of 400 by 300 pixels, a fifth of them to validate on."""
    generator = np.random.default_rng(0)
    for number in range(count):
        corners = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(corners).resize((400, 300), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = (smooth + generator.integers(-20, 20, smooth.shape)).clip(0, 255).astype(np.uint8)
        path = folder / ("val" if number % 5 == 0 else "train") / f"class {number // 5 % NUM_CLASSES}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(path, quality=90)
    return folder


def measure(
    photos: Path, settings: list[str], folder: Path, *, with_report: bool, profiled: bool = False
) -> TimedTrainer:
    """Trains once."""
    switch = {"report.enabled": with_report, "run.dir": str(folder / "runs")}
    with TimedTrainer(profiled=profiled) as timed:
        train(photos, SETTINGS, settings, switch, quiet=True)
    return timed


def compare(photos: Path, settings: list[str], folder: Path, rounds: int) -> float:
    """Trains in turns, prints every round, and gives the overhead."""
    measure(photos, settings, folder, with_report=True)
    ratios = []
    print(f"{'round':>5}{'with':>12}{'without':>12}{'overhead':>11}{'drawing':>11}")
    for number in range(rounds):
        order = (True, False) if number % 2 == 0 else (False, True)
        results = {with_report: measure(photos, settings, folder, with_report=with_report) for with_report in order}
        having, lacking = results[True], results[False]
        ratios.append(having.seconds / lacking.seconds)
        drawing = having.drawing_seconds / having.seconds
        print(f"{number + 1:5}{having.seconds:10.2f} s{lacking.seconds:10.2f} s{ratios[-1] - 1:11.2%}{drawing:11.2%}")
    return statistics.median(ratios) - 1


def report(photos: Path, settings: list[str], folder: Path, rounds: int) -> None:
    """Prints the comparison, the parts, and the verdict."""
    overhead = compare(photos, settings, folder, rounds)
    timed = measure(photos, settings, folder, with_report=True, profiled=True)
    print(f"\n{'callback':42}{'seconds':>10}{'share':>10}")
    for name, seconds in timed.seconds_by_callback().items():
        print(f"{name:42}{seconds:10.3f}{seconds / timed.seconds:10.2%}")
    print(
        f"{'all drawing, by the budget':42}{timed.drawing_seconds:10.3f}{timed.drawing_seconds / timed.seconds:10.2%}"
    )
    verdict = "met" if overhead <= TARGET else "NOT MET"
    print(f"\noverhead {overhead:.2%} (median of {rounds} rounds); target <= {TARGET:.0%}: {verdict}")


def _budget(callback: lightning.Callback) -> DrawingBudget | None:
    budget = getattr(callback, "budget", None)
    return budget if isinstance(budget, DrawingBudget) else None


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path, metavar="PHOTOS", help="photos; none: made-up ones")
    parser.add_argument("--photos", type=int, default=2000, help="how many to make up")
    parser.add_argument("--epochs", type=int, default=3, help="of every training")
    parser.add_argument("--rounds", type=int, default=5, help="trainings with and without")
    parser.add_argument("--accelerator", choices=["cpu", "cuda"], default="cpu", help="where to train")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="more settings of the training")
    arguments = parser.parse_args()
    hardware = torch.cuda.get_device_name() if arguments.accelerator == "cuda" else f"{platform.machine()} CPU"
    print(
        f"ResNet-18, 224 px, {arguments.epochs} epochs; torch {torch.__version__}, {hardware}, {os.cpu_count()} cores"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = arguments.root or make_photos(folder / "photos", arguments.photos)
        own = {"trainer.max_epochs": arguments.epochs, "trainer.accelerator": arguments.accelerator}
        settings = [f"{key}={value}" for key, value in own.items()] + arguments.set
        report(photos, settings, folder, arguments.rounds)


if __name__ == "__main__":
    main()
