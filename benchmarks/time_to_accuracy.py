"""Accuracy against minutes of whole commands: this program's recipes, and what its peers make of the same photos.

Every contender is started as a process of its own with a cold cache, from the same pretrained weights where it can
take them; its clock runs from the start of the process to its end, imports, checks, test scores and exports included.
Validation top-1 is noted when the contender writes it down. Measure on an idle machine.

Run: python benchmarks/time_to_accuracy.py OUT [--photos P] [--weights W] [--seeds 0,1,2] [--only NAME,NAME …]
         [--timm-train FILE] [--autogluon PYTHON]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
PEERS = Path(__file__).with_name("time_to_accuracy_peers.py")
FASTAI_BEST = 0.738
"""Test top-1 of fastai's ``fine_tune(6)`` from the same weights, measured once: 951 s."""
MODEL = "model=tf_efficientnet_lite0"


@dataclass(frozen=True)
class Setup:
    """What every contender is given."""

    photos: Path
    weights: Path
    timm_train: Path | None
    autogluon: Path | None


@dataclass(frozen=True)
class Contender:
    """A command, and the file in which its validation scores appear.

    Attributes:
        command: The words of the command, by set-up, seed and an empty folder.
        scores: The file with a row for each validation, by the folder.
        column: The column of that file with validation top-1.
        final: Reads test top-1, by the folder, when the command has ended.
    """

    command: Callable[[Setup, int, Path], list[str]]
    scores: Callable[[Path], Path]
    column: str
    final: Callable[[Path], float]


@dataclass(frozen=True)
class Measured:
    """One run of a contender; seconds from the start of its command.

    Attributes:
        contender: Its name.
        seed: Its seed.
        seconds: Until its command ended.
        test: Test top-1.
        curve: Seconds and validation top-1 of each validation.
    """

    contender: str
    seed: int
    seconds: float
    test: float
    curve: list[tuple[float, float]]


def ours(*settings: str) -> Contender:
    """This program, with settings."""

    def command(setup: Setup, seed: int, folder: Path) -> list[str]:
        words = [f"model.weights={setup.weights}", *settings] if MODEL in settings else list(settings)
        program = [sys.executable, "-m", "classifier_training", "train", str(setup.photos)]
        return [*program, *words, f"seed={seed}", f"run.dir={folder}", "run.name=run", "--quiet"]

    return Contender(
        command,
        lambda folder: folder / "run" / "metrics.csv",
        "val/top1",
        lambda folder: float(json.loads((folder / "run" / "results.json").read_text(encoding="utf-8"))["test"]["top1"]),
    )


def peer(name: str) -> Contender:
    """Another program, as ``time_to_accuracy_peers.py`` drives it."""

    def command(setup: Setup, seed: int, folder: Path) -> list[str]:
        python = str(setup.autogluon) if name == "autogluon" else sys.executable
        words = [python, str(PEERS), name, str(setup.photos), str(setup.weights), str(seed), str(folder)]
        return [*words, str(setup.timm_train)] if name == "timm" else words

    return Contender(
        command,
        lambda folder: folder / "scores.csv",
        "val",
        lambda folder: float((folder / "test.txt").read_text(encoding="utf-8")),
    )


CONTENDERS = {
    "probe": ours(MODEL, "recipe=probe"),
    "finetune 3 minutes": ours(MODEL, "recipe=finetune", "trainer.time_limit=3m"),
    "finetune": ours(MODEL, "recipe=finetune"),
    "finetune Lite2": ours("model=tf_efficientnet_lite2", "recipe=finetune"),
    "no setting at all": ours(),
    "fastai": peer("fastai"),
    "timm": peer("timm"),
    "ultralytics": peer("ultralytics"),
    "autogluon": peer("autogluon"),
}


def measure(name: str, setup: Setup, seed: int) -> Measured:
    """Runs a contender once.

    Raises:
        RuntimeError: Its command failed.
    """
    contender = CONTENDERS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CLASSIFIER_TRAINING_CACHE_DIR": str(folder / "cache")}
        curve: list[tuple[float, float]] = []
        started = time.perf_counter()
        with (
            (folder / "output.txt").open("w", encoding="utf-8") as output,
            subprocess.Popen(
                contender.command(setup, seed, folder), stdout=output, stderr=output, env=environment, cwd=folder
            ) as process,
        ):
            while process.poll() is None:
                time.sleep(0.2)
                values = read_column(contender.scores(folder), contender.column)
                now = time.perf_counter() - started
                curve += [(now, value) for value in values[len(curve) :]]
        seconds = time.perf_counter() - started
        if process.returncode:
            raise RuntimeError((folder / "output.txt").read_text(encoding="utf-8")[-2000:])
        return Measured(name, seed, seconds, contender.final(folder), curve)


def read_column(path: Path, column: str) -> list[float]:
    """The numbers in a column of a CSV file that may still be written."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [float(row[column]) for row in csv.DictReader(file) if row.get(column)]


def seconds_to(curve: list[tuple[float, float]], score: float) -> float | None:
    """When a curve has reached a score; None: never."""
    return next((seconds for seconds, value in curve if value >= score), None)


def show(measured: list[Measured]) -> None:
    """Prints a row for each contender."""
    print(f"\n{'contender':22} {'test top-1':>20} {'minutes':>16} {'seconds to 73.8 % val':>22}")
    for name in dict.fromkeys(one.contender for one in measured):
        runs = [one for one in measured if one.contender == name]
        tests, minutes = [one.test for one in runs], [one.seconds / 60 for one in runs]
        reached = [seconds for one in runs if (seconds := seconds_to(one.curve, FASTAI_BEST)) is not None]
        soon = f"{statistics.mean(reached):.0f} ({len(reached)} of {len(runs)})" if reached else "never"
        print(f"{name:22} {spread(tests, '.3f'):>20} {spread(minutes, '.1f'):>16} {soon:>22}")


def spread(values: list[float], form: str) -> str:
    """Mean and range."""
    mean = format(statistics.mean(values), form)
    return mean if len(values) == 1 else f"{mean} ({min(values):{form}}–{max(values):{form}})"


def plot(measured: list[Measured], path: Path) -> None:
    """Draws validation top-1 against minutes, a line for each run, and test top-1 at its end."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(dict.fromkeys(one.contender for one in measured)):
        for one in (run for run in measured if run.contender == name):
            points = [(seconds / 60, value) for seconds, value in one.curve]
            axes.step(*zip(*points, strict=True), where="post", color=f"C{number}", alpha=0.6) if points else None
            axes.plot(
                one.seconds / 60,
                one.test,
                "o",
                color=f"C{number}",
                label=name if one.seed == runs_first(measured, name) else None,
            )
    axes.set(
        xlabel="minutes from the start of the command",
        ylabel="validation top-1 (lines), test top-1 (dots)",
        xscale="log",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def runs_first(measured: list[Measured], name: str) -> int:
    """The first seed of a contender."""
    return next(one.seed for one in measured if one.contender == name)


def main() -> None:
    """Measures, adds to what an earlier call has measured, prints and plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=Path, default=SHARED / "clothing")
    parser.add_argument("--weights", type=Path, default=SHARED / "weights" / "tf_efficientnet_lite0.safetensors")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default=",".join(CONTENDERS))
    parser.add_argument("--timm-train", type=Path, help="train.py of a checkout of timm")
    parser.add_argument("--autogluon", type=Path, help="python of an environment with autogluon.multimodal")
    given = parser.parse_args()
    setup = Setup(
        *(path and path.absolute() for path in (given.photos, given.weights, given.timm_train, given.autogluon))
    )
    given.out.mkdir(parents=True, exist_ok=True)
    for seed in map(int, given.seeds.split(",")):
        for name in given.only.split(","):
            path = given.out / f"{name.replace(' ', '-')}-{seed}.json"
            if (
                path.is_file()
                or (name == "timm" and not setup.timm_train)
                or (name == "autogluon" and not setup.autogluon)
            ):
                continue
            try:
                one = measure(name, setup, seed)
            except RuntimeError as error:
                print(f"{name}, seed {seed}: FAILED\n{error}")
                continue
            path.write_text(json.dumps(asdict(one)), encoding="utf-8")
            print(f"{name}, seed {seed}: test {one.test:.3f} after {one.seconds:.0f} s", flush=True)
    measured = [Measured(**json.loads(path.read_text(encoding="utf-8"))) for path in sorted(given.out.glob("*.json"))]
    show(measured)
    plot(measured, given.out / "time_to_accuracy.png")
    print(f"\n{given.out / 'time_to_accuracy.png'}; measured on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
