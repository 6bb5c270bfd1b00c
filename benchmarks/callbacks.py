"""What looking at a run costs: a training with report, figures and tables, and the same training without them.

    python benchmarks/callbacks.py [PHOTOS] [--photos 2000] [--epochs 3] [--rounds 5] [--accelerator cpu]

ResNet-18 at 224 px is trained on PHOTOS (one folder a class), or on as many made-up JPEGs. ``report.enabled=true`` with
TensorBoard, where it is installed, and ``report.enabled=false`` without take turns, and the one that begins changes
from round to round, so that what else the machine does hits both alike; a training before the first round fills the
caches and is not counted. The time is that of ``Trainer.fit``: training, validation, checkpoints, and what is drawn at
the end.

There are two figures, medians over the rounds. By the clock: with / without - 1, all that there is, and as uncertain
as two trainings on this machine differ. By the callbacks' own time: what Lightning's profiler, which watches both
trainings, counts within the hooks of those callbacks that the one without has not, of the progress bar, and of what
sends to TensorBoard; on a GPU these are times of the processor, in which the device goes on working.
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

TARGET = 0.03
COUNTED_ALWAYS = {"TrainingProgress", "TrackingCallback"}
NUM_CLASSES = 10
SETTINGS = [
    "model.name=resnet18",
    "model.pretrained=false",
    "data.image_size=224",
    "export.enabled=false",
]

_TRAINER: Any = lightning.Trainer


class TimedTrainer:
    """Stands in the way of `lightning.Trainer.fit`: keeps its seconds, and lets Lightning's profiler watch it."""

    def __init__(self) -> None:
        self.profiler = SimpleProfiler()
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._fit = _TRAINER.fit

        def fit(trainer: Any, *arguments: Any, **options: Any) -> None:
            trainer.profiler = self.profiler
            started = time.perf_counter()
            self._fit(trainer, *arguments, **options)
            self.seconds = time.perf_counter() - started

        _TRAINER.fit = fit
        return self

    def __exit__(self, *error: object) -> None:
        _TRAINER.fit = self._fit

    def seconds_by_callback(self) -> dict[str, float]:
        """Seconds of each callback over all of its hooks, the slowest one first."""
        seconds: defaultdict[str, float] = defaultdict(float)
        for action, durations in self.profiler.recorded_durations.items():
            if action.startswith("[Callback]"):
                seconds[action.removeprefix("[Callback]").partition(".")[0].partition("{")[0]] += sum(durations)
        return dict(sorted(seconds.items(), key=lambda item: -item[1]))

    def seconds_of_looking(self, without: TimedTrainer) -> dict[str, float]:
        """Those that the other training has not, the progress bar and what sends to trackers."""
        others = without.seconds_by_callback().keys() - COUNTED_ALWAYS
        return {name: seconds for name, seconds in self.seconds_by_callback().items() if name not in others}


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


def measure(photos: Path, settings: list[str], folder: Path, *, with_report: bool) -> TimedTrainer:
    """Trains once."""
    tensorboard = "auto" if with_report else False
    switch = {"report.enabled": with_report, "tracking.tensorboard": tensorboard, "run.dir": str(folder / "runs")}
    with TimedTrainer() as timed:
        train(photos, SETTINGS, settings, switch, quiet=True)
    return timed


def compare(photos: Path, settings: list[str], folder: Path, rounds: int) -> None:
    """Trains in turns; prints every round, the parts of the last one, and the verdict."""
    measure(photos, settings, folder, with_report=True)
    clock, own = [], []
    looking: dict[str, float] = {}
    print(f"{'round':>5}{'with':>12}{'without':>12}{'by the clock':>15}{'own time':>12}{'share':>9}", flush=True)
    for number in range(rounds):
        order = (True, False) if number % 2 == 0 else (False, True)
        results = {with_report: measure(photos, settings, folder, with_report=with_report) for with_report in order}
        having, lacking = results[True], results[False]
        looking = having.seconds_of_looking(lacking)
        seconds = sum(looking.values())
        clock.append(having.seconds / lacking.seconds - 1)
        own.append(seconds / (having.seconds - seconds))
        times = f"{having.seconds:10.2f} s{lacking.seconds:10.2f} s"
        print(f"{number + 1:5}{times}{clock[-1]:15.2%}{seconds:10.2f} s{own[-1]:9.2%}", flush=True)
    print(f"\n{'callback, in the last round':42}{'seconds':>10}")
    for name, seconds in looking.items():
        print(f"{name:42}{seconds:10.3f}")
    for name, shares in (("by the clock", clock), ("own time", own)):
        median = statistics.median(shares)
        verdict = "met" if median <= TARGET else "NOT MET"
        print(f"overhead {name}: {median:.2%} (median of {rounds} rounds); target <= {TARGET:.0%}: {verdict}")


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
        compare(photos, settings, folder, arguments.rounds)


if __name__ == "__main__":
    main()
