"""`evaluate`: how good is a finished model on labelled photos?

Scoring an ONNX file needs numpy, Pillow and onnxruntime only; whatever needs more is imported where it is used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier_training.data.inspect import BadImage, BadImagePolicy, Progress, count_up
from classifier_training.data.labelled import Labelled, check_labelled, choose_samples
from classifier_training.data.sources.address import absolute_root
from classifier_training.data.sources.listing import Split
from classifier_training.data.sources.table import Columns
from classifier_training.data.split_file import read_digests, read_split
from classifier_training.errors import CheckpointError, DataError
from classifier_training.inference.classifier import OnnxClassifier
from classifier_training.inference.evaluate import evaluate_samples
from classifier_training.runs import RunFolder, open_run
from classifier_training.scores import Scores
from classifier_training.settings import Overrides, collect_overrides

if TYPE_CHECKING:
    from classifier_training.config.schema import Config


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores, and what they were measured on.

    Attributes:
        model: The file that was scored.
        description: Which photos it was scored on, for a person.
        classes: Class names in class order.
        scores: The scores.
        bad: Files that were left out.
        num_trained_on: How many of the photos the model was trained on, byte for byte.
    """

    model: Path
    description: str
    classes: tuple[str, ...]
    scores: Scores
    bad: tuple[BadImage, ...] = ()
    num_trained_on: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": str(self.model),
            "photos": self.description,
            **self.scores.to_dict(self.classes),
            "num_trained_on": self.num_trained_on,
            "left_out": [image.path for image in self.bad],
        }


def evaluate(
    model: str | os.PathLike[str],
    photos: str | os.PathLike[str] | None = None,
    *overrides: Overrides,
    split: Split | None = None,
    checking: Progress | None = None,
    scoring: Progress | None = None,
) -> Evaluation:
    """Scores a run, a checkpoint or an ONNX file on labelled photos.

    Args:
        model: A run folder (its best checkpoint), a ``.ckpt`` file, or an ``.onnx`` file.
        photos: A folder or a table; None: the photos of the model's own run.
        overrides: Settings that differ, such as ``"data.batch_size=64"``.
        split: ``train``, ``val`` or ``test``; None: test where there is one, else validation.
        checking: Told how many files have been checked.
        scoring: Told how many images have been scored.

    Raises:
        UserError: The model or the photos cannot be used.

    Example:
        >>> evaluate("runs/shirts").scores.top1  # doctest: +SKIP
    """
    path = _model_file(Path(model))
    words = collect_overrides(overrides)
    roots = [word.removeprefix("data.root=") for word in words if word.startswith("data.root=")]
    photos = roots[-1] if photos is None and roots else photos
    run = _run_of(path)
    settings = _settings(run, words, is_onnx=path.suffix == ".onnx")
    choose = _Photos(run, photos, settings, split, checking)
    if path.suffix == ".onnx":
        classes, labelled, scores = _score_onnx(path, choose, settings, scoring)
    else:
        from classifier_training.checkpoint_scoring import score_checkpoint

        classes, labelled, scores = score_checkpoint(path, choose, settings, scoring)
    trained_on = set() if run is None or not run.split.is_file() else set(read_digests(run.split, "train").values())
    num_trained_on = sum(digest in trained_on for digest in labelled.digests)
    return Evaluation(path, labelled.description, classes, scores, labelled.bad, num_trained_on)


@dataclass(frozen=True, slots=True)
class _Photos:
    """Chooses the photos once the model's classes are known."""

    run: RunFolder | None
    photos: str | os.PathLike[str] | None
    settings: Config | None
    split: Split | None
    checking: Progress | None

    def __call__(self, classes: tuple[str, ...]) -> Labelled:
        data = None if self.settings is None else self.settings.data
        columns = None if data is None else Columns(data.image_column, data.label_column, data.split_column)
        if self._are_the_runs_own() and self.run is not None:
            split = self.split or _best_split(self.run)
            samples, description = read_split(self.run.split, split), f"the {split} split of {self.run.root}"
        elif self.photos is not None:
            samples, description = choose_samples(absolute_root(self.photos), columns, self.split, classes)
        else:
            raise DataError("this model lies in no run folder; name photos to evaluate it on")
        policy = None if data is None else BadImagePolicy(data.on_bad_image, data.max_bad_fraction)
        return check_labelled(
            samples,
            classes,
            description,
            policy=policy,
            max_pixels=None if data is None else data.max_image_pixels,
            progress=self.checking,
        )

    def _are_the_runs_own(self) -> bool:
        """Whether to score on the run's split, so that no training photo is scored by mistake."""
        if self.run is None or not self.run.split.is_file():
            return False
        if self.photos is None:
            return True
        root = json.loads(self.run.environment.read_text(encoding="utf-8")).get("data_root")
        return bool(absolute_root(self.photos) == root)


def _score_onnx(
    path: Path, choose: Callable[[tuple[str, ...]], Labelled], settings: Config | None, scoring: Progress | None
) -> tuple[tuple[str, ...], Labelled, Scores]:
    classifier = OnnxClassifier(path)
    labelled = choose(classifier.classes)
    samples = [(sample.image, label) for sample, label in zip(labelled.samples, labelled.labels, strict=True)]
    batch_size = 32 if settings is None else settings.data.batch_size
    scores = evaluate_samples(classifier, samples, batch_size, count_up(scoring, len(samples)))
    return classifier.classes, labelled, scores


def _model_file(path: Path) -> Path:
    if path.is_dir():
        best = open_run(path).best_checkpoint
        if not best.is_file():
            raise CheckpointError(f"{path} has no checkpoints/best.ckpt; finish it: train --resume {path}")
        return best
    if path.suffix not in {".ckpt", ".onnx"}:
        raise CheckpointError(f"{path} is no run folder, .ckpt or .onnx file")
    if not path.is_file():
        raise CheckpointError(f"no such file: {path}")
    return path


def _run_of(path: Path) -> RunFolder | None:
    """The run that a checkpoint or an exported model lies in."""
    run = RunFolder(path.resolve().parent.parent)
    return run if run.config.is_file() else None


def _best_split(run: RunFolder) -> Split:
    try:
        read_split(run.split, "test")
    except DataError:
        return "val"
    return "test"


def _settings(run: RunFolder | None, words: list[str], *, is_onnx: bool) -> Config | None:
    """The run's configuration with the overrides; None where an ONNX file is scored without overrides."""
    if is_onnx and not words:
        return None
    from classifier_training.config import load_config

    return load_config(words, file=None if run is None else run.config)
