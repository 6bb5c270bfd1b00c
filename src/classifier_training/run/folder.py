"""The run folder: where everything of one run is.

runs/<date>-<time>-<model>/
├── config.yaml            the resolved configuration; `train --config` repeats the run
├── environment.json       versions, git commit, hardware, seed, data fingerprint
├── data/split.csv         which image was in which split, and what was left out
├── data/statistics.json   what the photos are like: counts, sizes, modes
├── data/sampler_distribution.csv   what was drawn in each epoch, by class
├── model_info.json        parameters, FLOPs, size, latency
├── metrics.csv            one row an epoch: the same for every repetition of the run
├── timings.csv            one row an epoch: seconds and images per second
├── results.json           the scores, and what was written
├── report.html            all of it on one page, current after each epoch
├── plots/                 figures: curves, what was drawn, what the photos are like, a batch of training images
├── val/, test/            what the model said of each image, see `ScoredFolder`
├── evaluations/           what `evaluate` has written, a folder each time
├── train.log              what the terminal said
├── trackers.json          where a resumed run goes on in its trackers
├── tensorboard/, wandb/   what these trackers write
├── checkpoints/           best.ckpt, last.ckpt, and last-1.ckpt … before it
└── export/                model.onnx, labels_mapping.json, verification.json
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from classifier_training.errors import RunError


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of one run. Making the object touches no disk.

    Attributes:
        root: The run folder itself.
    """

    root: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.root / "config.yaml"

    @property
    def environment(self) -> Path:
        """Versions, hardware, seed and data fingerprint."""
        return self.root / "environment.json"

    @property
    def split(self) -> Path:
        """Which image was in which split."""
        return self.root / "data" / "split.csv"

    @property
    def metrics(self) -> Path:
        """One row an epoch."""
        return self.root / "metrics.csv"

    @property
    def timings(self) -> Path:
        """How long every epoch took."""
        return self.root / "timings.csv"

    @property
    def results(self) -> Path:
        """The scores and the written files."""
        return self.root / "results.json"

    @property
    def log(self) -> Path:
        """What the terminal said."""
        return self.root / "train.log"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.root / "checkpoints"

    @property
    def best_checkpoint(self) -> Path:
        """The weights that scored best on the monitored metric."""
        return self.checkpoints / "best.ckpt"

    @property
    def last_checkpoint(self) -> Path:
        """Where training goes on after an interruption."""
        return self.checkpoints / "last.ckpt"

    @property
    def export(self) -> Path:
        """Folder of the exported model."""
        return self.root / "export"

    @property
    def onnx(self) -> Path:
        """The exported model."""
        return self.export / "model.onnx"

    @property
    def labels_mapping(self) -> Path:
        """Class names and preprocessing beside the exported model."""
        return self.export / "labels_mapping.json"

    @property
    def verification(self) -> Path:
        """The figures of the comparison between the exported and the trained model."""
        return self.export / "verification.json"

    @property
    def report(self) -> Path:
        """The whole run on one page."""
        return self.root / "report.html"

    @property
    def statistics(self) -> Path:
        """What the photos are like."""
        return self.root / "data" / "statistics.json"

    @property
    def sampler_distribution(self) -> Path:
        """What was drawn in each epoch, by class."""
        return self.root / "data" / "sampler_distribution.csv"

    @property
    def model_info(self) -> Path:
        """Parameters, FLOPs, size and latency."""
        return self.root / "model_info.json"

    @property
    def plots(self) -> Path:
        """Folder of the figures that belong to no split."""
        return self.root / "plots"

    @property
    def train_batch(self) -> Path:
        """The figure of the first training batch, as the model got it."""
        return self.plots / "train_batch.png"

    @property
    def trackers(self) -> Path:
        """Where a resumed run goes on in its trackers."""
        return self.root / "trackers.json"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files."""
        return self.root / "tensorboard"

    @property
    def wandb(self) -> Path:
        """Folder of the files of Weights & Biases, which names it itself."""
        return self.root / "wandb"

    @property
    def evaluations(self) -> Path:
        """Folder of the evaluations that nobody named a folder for."""
        return self.root / "evaluations"

    def scored(self, split: str) -> ScoredFolder:
        """What the model said of each image of a split."""
        return ScoredFolder(self.root / split)

    def written_files(self) -> list[Path]:
        """Every finished file of the run, in a stable order."""
        files = (path for path in self.root.rglob("*") if path.is_file() and not path.name.startswith("."))
        return sorted(files)

    def remove_unfinished(self) -> None:
        """Removes what a process left that was killed while it wrote; must not be called while another one writes."""
        for path in self.root.rglob(".*.tmp"):
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class ScoredFolder:
    """The paths of one pass of a model over labelled images: a run's ``val/`` or ``test/``, or an evaluation.

    Making the object touches no disk.

    Attributes:
        root: The folder itself.
    """

    root: Path

    @property
    def scores(self) -> Path:
        """The scores, and what they are of."""
        return self.root / "scores.json"

    @property
    def predictions(self) -> Path:
        """One row an image."""
        return self.root / "predictions.csv"

    @property
    def confusion(self) -> Path:
        """The confusion matrix: a row a true class, a column a predicted one."""
        return self.root / "confusion_matrix.csv"

    @property
    def confusion_figure(self) -> Path:
        """The confusion matrix as an image."""
        return self.root / "confusion_matrix.png"

    @property
    def normalized_confusion_figure(self) -> Path:
        """The confusion matrix with rows that sum to one, as an image."""
        return self.root / "confusion_matrix_normalized.png"

    @property
    def images(self) -> Path:
        """Which images are shown, and why."""
        return self.root / "pictures.json"

    @property
    def thumbnails(self) -> Path:
        """Folder of the small images."""
        return self.root / "pictures"

    @property
    def samples_figure(self) -> Path:
        """A grid of images with what was said of them."""
        return self.root / "samples.png"

    @property
    def worst_errors_figure(self) -> Path:
        """The errors with the highest loss."""
        return self.root / "worst_errors.png"

    @property
    def least_certain_figure(self) -> Path:
        """The images that the model was least sure of."""
        return self.root / "least_certain.png"

    def remove_examples(self) -> None:
        """Removes the figures, and the list of images, which belong to other scores."""
        for path in (self.images, *self.root.glob("*.png")):
            path.unlink(missing_ok=True)


def check_run_name(parent: Path, name: str | None, *, may_rename: bool = False) -> None:
    """Refuses a name before hours are spent on a run that could not be written; arguments as `create_run`.

    Raises:
        RunError: The name is taken or is no plain folder name.
    """
    if name is None:
        return
    if not name.strip() or name in {".", ".."} or "/" in name or "\\" in name or "\0" in name:
        raise RunError(f"run.name={name!r} is not a plain folder name; the folder it lies in is set with run.dir")
    if not may_rename and os.path.lexists(parent / name):  # False also for what the file system refuses
        raise _taken(parent / name)


def create_run(parent: Path, name: str | None, model_name: str, *, may_rename: bool = False) -> RunFolder:
    """Makes a new, empty run folder.

    Args:
        parent: The folder that holds all runs.
        name: The run's name; None makes one from the date, the time and the model.
        model_name: Used in the made-up name.
        may_rename: Add ``-2``, ``-3`` … to a name that is taken, as is always done for a made-up one.

    Raises:
        RunError: The name is taken, is no plain folder name, or the folder cannot be made.
    """
    check_run_name(parent, name, may_rename=may_rename)
    plain_model = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in model_name)
    stem = name or f"{datetime.now():%Y%m%d-%H%M%S}-{plain_model}"
    candidate, number = parent / stem, 1
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # apart from the loop below, which takes "exists" for a run of that name
        raise RunError(f"cannot make the folder {parent}: {error.strerror}; choose another run.dir") from None
    while True:
        try:
            candidate.mkdir()
        except FileExistsError:
            if name is not None and not may_rename:
                raise _taken(candidate) from None
            number += 1
            candidate = parent / f"{stem}-{number}"
        except OSError as error:
            raise RunError(
                f"cannot make the run folder {candidate}: {error.strerror}; choose another run.dir or run.name"
            ) from None
        else:
            return RunFolder(candidate)


def open_run(path: Path) -> RunFolder:
    """The run in an existing folder.

    Raises:
        RunError: There is no such folder, or no run in it.
    """
    run = RunFolder(path)
    if not path.is_dir():
        raise RunError(f"no run folder at {path}")
    if not run.config.is_file():
        raise RunError(f"{path} is no run folder: it has no config.yaml")
    return run


def latest_run(parent: Path) -> RunFolder:
    """The run in ``parent`` that was started last.

    Raises:
        RunError: There is none.
    """
    configs = list(parent.glob("*/config.yaml")) if parent.is_dir() else []
    if not configs:
        raise RunError(f"there is no run in {parent}; name the run folder")
    return RunFolder(max(configs, key=lambda config: config.stat().st_mtime_ns).parent)


def _taken(folder: Path) -> RunError:
    return RunError(
        f"run folder {folder} exists already and is never overwritten; choose another run.name, or go on with it:"
        f" classifier-training train --resume {folder}"
    )
