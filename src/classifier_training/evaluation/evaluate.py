"""`evaluate`: how good is a finished model on labelled photos?

Scoring an ONNX file needs numpy, Pillow and onnxruntime only; whatever needs more is imported where it is used.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.config.arguments import Overrides, collect_overrides
from classifier_training.data.index.check import BadImage, count_up
from classifier_training.data.sources.address import absolute_root, file_name, is_remote, shown
from classifier_training.data.splits.file import read_digests
from classifier_training.errors import CheckpointError
from classifier_training.evaluation.folder import check_folder, make_free_folder, replaced_folder
from classifier_training.evaluation.labelled import LabelledImages, ScoredPhotos
from classifier_training.evaluation.photos import ImageSelector
from classifier_training.inference.classifier import Classifier
from classifier_training.inference.evaluate import evaluate_samples
from classifier_training.metrics.intervals import CONFIDENCE_LEVEL, ScoreIntervals, score_intervals
from classifier_training.metrics.scores import Predictions, Scores
from classifier_training.results.folder import write_scored
from classifier_training.run.folder import RunFolder, ScoredFolder, open_run
from classifier_training.types import Preprocessing, Progress, Split

if TYPE_CHECKING:
    from classifier_training.config.schema import Config

NUM_PICTURES: Final = 24
"""How many errors are shown of a model without settings."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores, and what they were measured on.

    Attributes:
        model: The file that was scored.
        photos: What was named to score it on; None: the photos of the model's own run.
        labelled: The photos it was scored on.
        classes: Class names in class order.
        scores: The scores.
        intervals: Their intervals of 95 % confidence.
        predictions: What was said of each photo.
        epoch: After which epoch the model was scored, from 0; None where its file does not say.
        preprocessing: How the model saw the photos.
        cam: Gives what the model looked at in some of the photos, by position; None: it cannot be asked.
        num_pictures: How many of the worst errors and of the least certain photos are shown.
        max_pixels: A photo with more is not shown; None: as Pillow does.
        num_trained_on: How many of the photos the model was trained on, byte for byte.
        folder: Where all of it was written; None: nowhere.
    """

    model: Path
    photos: str | None
    labelled: LabelledImages
    classes: tuple[str, ...]
    scores: Scores
    intervals: ScoreIntervals
    predictions: Predictions
    preprocessing: Preprocessing
    epoch: int | None = None
    cam: Callable[[list[int]], Mapping[int, NDArray[np.float32]]] | None = None
    num_pictures: int = NUM_PICTURES
    max_pixels: int | None = None
    num_trained_on: int = 0
    folder: Path | None = None

    @property
    def description(self) -> str:
        """Which photos it was scored on, for a person."""
        return self.labelled.description

    @property
    def bad(self) -> tuple[BadImage, ...]:
        """Files that were left out."""
        return self.labelled.bad

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": str(self.model),
            "photos": self.description,
            **self.scores.to_dict(self.classes),
            "confidence_level": CONFIDENCE_LEVEL,
            "intervals": self.intervals.to_dict(),
            "num_trained_on": self.num_trained_on,
            "left_out": [image.path for image in self.bad],
            "folder": None if self.folder is None else str(self.folder),
        }


def evaluate(
    model: str | os.PathLike[str],
    photos: str | os.PathLike[str] | None = None,
    *overrides: Overrides,
    split: Split | None = None,
    output: str | os.PathLike[str] | None = None,
    checking: Progress | None = None,
    scoring: Progress | None = None,
) -> Evaluation:
    """Scores a run, a checkpoint or an ONNX file on labelled photos.

    Args:
        model: A run folder (its best checkpoint), a ``.ckpt`` file, or an ``.onnx`` file.
        photos: A folder or a table; None: the photos of the model's own run.
        overrides: Settings that differ, such as ``"data.batch_size=64"``.
        split: ``train``, ``val`` or ``test``; None: test where there is one, else validation.
        output: A folder to write the evaluation into: new, empty, or of an earlier evaluation, which is replaced; None
            writes nothing.
        checking: Told how many files have been checked.
        scoring: Told how many images have been scored.

    Raises:
        UserError: The model or the photos cannot be used, or the folder to write into.

    Example:
        >>> evaluate("runs/shirts").scores.top1  # doctest: +SKIP
    """
    path = _model_file(Path(model))
    words = collect_overrides(overrides)
    roots = [word.removeprefix("data.root=") for word in words if word.startswith("data.root=")]
    photos = roots[-1] if photos is None and roots else photos
    run = _run_of(path)
    settings = _settings(run, words, is_onnx=path.suffix == ".onnx")
    if output is not None:
        check_folder(Path(output))
    choice = ImageSelector(run, photos, settings, split, checking)
    scored = _score(path, choice, settings, scoring)
    trained_on = set() if run is None or not run.split.is_file() else set(read_digests(run.split, "train").values())
    evaluation = Evaluation(
        model=path,
        photos=None if photos is None or choice.uses_run_split else os.fspath(photos),
        labelled=scored.labelled,
        classes=scored.classes,
        scores=scored.scores,
        intervals=score_intervals(scored.scores),
        predictions=scored.predictions,
        preprocessing=scored.preprocessing,
        epoch=scored.epoch,
        cam=scored.cam,
        num_pictures=NUM_PICTURES if settings is None else settings.report.num_pictures,
        max_pixels=None if settings is None else settings.data.max_image_pixels,
        num_trained_on=sum(digest in trained_on for digest in scored.labelled.digests),
    )
    return evaluation if output is None else write_evaluation(evaluation, Path(output))


def score_on_same_images(
    model: str | os.PathLike[str], evaluation: Evaluation, *overrides: Overrides, scoring: Progress | None = None
) -> ScoredPhotos:
    """Scores another model on the photos of an evaluation, in the same order.

    Args:
        model: As in `evaluate`.
        evaluation: What was scored before.
        overrides: As in `evaluate`.
        scoring: Told how many images have been scored.

    Raises:
        UserError: The model cannot be used, or does not know a class of the photos.
    """
    path = _model_file(Path(model))
    settings = _settings(_run_of(path), collect_overrides(overrides), is_onnx=path.suffix == ".onnx")
    return _score(path, evaluation.labelled.for_classes, settings, scoring)


def write_evaluation(evaluation: Evaluation, folder: Path | None = None) -> Evaluation:
    """Writes an evaluation folder, whole or not at all.

    Args:
        evaluation: What to write.
        folder: As ``output`` of `evaluate`; None: a new one in the model's run, else in the working directory.

    Returns:
        The evaluation that knows its folder.

    Raises:
        RunError: The folder holds something else, or belongs to a run.
    """
    if folder is None:
        folder = make_free_folder(*_usual_place(evaluation))
        try:
            return write_evaluation(evaluation, folder)
        except BaseException:
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise
    check_folder(folder)
    labelled = evaluation.labelled
    with replaced_folder(folder) as made:
        write_scored(
            ScoredFolder(made),
            evaluation.scores,
            evaluation.predictions,
            evaluation.classes,
            [sample.path for sample in labelled.samples],
            description=labelled.description,
            split=labelled.split,
            epoch=evaluation.epoch,
            model=str(evaluation.model.absolute()),
            left_out=[image.path for image in labelled.bad],
            num_trained_on=evaluation.num_trained_on,
            intervals=evaluation.intervals,
        )
        _write_page(evaluation, ScoredFolder(made))
    return replace(evaluation, folder=folder)


def _write_page(evaluation: Evaluation, folder: ScoredFolder) -> None:
    """Shows on one page what was written; where the libraries for that are missing, the scores are there anyway."""
    from classifier_training.warn import warn_instead_of_raise

    with warn_instead_of_raise("report.html"):
        from classifier_training.pages.write import report
        from classifier_training.results.figures import plot_examples

        plot_examples(
            folder,
            evaluation.scores,
            evaluation.predictions,
            [sample.image for sample in evaluation.labelled.samples],
            evaluation.classes,
            evaluation.preprocessing,
            description=evaluation.description,
            num_pictures=evaluation.num_pictures,
            epoch=evaluation.epoch,
            cam=evaluation.cam,
            max_pixels=evaluation.max_pixels,
        )
        report(folder.root)


def _usual_place(evaluation: Evaluation) -> tuple[Path, str]:
    """Where an evaluation is written when nobody says where: the folder, and the name in it."""
    run, name = _run_of(evaluation.model), str(evaluation.labelled.split or "photos")
    if evaluation.photos is not None:
        root = absolute_root(evaluation.photos)
        name = (file_name(shown(root)) if is_remote(root) else Path(root).name) or name
    if run is not None:
        return run.evaluations, name
    return RunFolder(Path()).evaluations, f"{evaluation.model.stem}-{name}"


def _score(
    path: Path, choose: Callable[[tuple[str, ...]], LabelledImages], settings: Config | None, scoring: Progress | None
) -> ScoredPhotos:
    if path.suffix == ".onnx":
        return _score_onnx(path, choose, settings, scoring)
    from classifier_training.evaluation.checkpoint import score_checkpoint

    return score_checkpoint(path, choose, settings, scoring)


def _score_onnx(
    path: Path, choose: Callable[[tuple[str, ...]], LabelledImages], settings: Config | None, scoring: Progress | None
) -> ScoredPhotos:
    classifier = Classifier(path)
    labelled = choose(classifier.classes)
    samples = [(sample.image, label) for sample, label in zip(labelled.samples, labelled.labels, strict=True)]
    batch_size = 32 if settings is None else settings.data.batch_size
    scores, predictions = evaluate_samples(classifier, samples, batch_size, count_up(scoring, len(samples)))
    return ScoredPhotos(classifier.classes, labelled, scores, predictions, classifier.preprocessing)


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


def _settings(run: RunFolder | None, words: list[str], *, is_onnx: bool) -> Config | None:
    """The run's configuration with the overrides; None where an ONNX file is scored without overrides."""
    if is_onnx and not words:
        return None
    from classifier_training.config import load_config

    return load_config(words, file=None if run is None else run.config)
