"""On which photos of an evaluation another model is right: from what it said before, or by scoring it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier_training.config.overrides import OverrideLike
from classifier_training.data.splits.file import read_digests
from classifier_training.errors import DataError, RunError, UserError
from classifier_training.evaluation.evaluate import score_on_same_images
from classifier_training.results.folder import read_scores
from classifier_training.results.predictions_csv import read_predictions_csv
from classifier_training.results.scored_pass import LabelledImages
from classifier_training.run.folder import RunFolder, ScoredFolder, open_run
from classifier_training.types import Progress


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """What another model said of the N photos of an evaluation.

    Attributes:
        is_correct: bool (N,), in the order of the evaluation.
        how: How its photos were paired with these, for a person.
    """

    is_correct: NDArray[np.bool_]
    how: str


def check_baseline(path: Path) -> None:
    """Refuses what cannot be compared with, before the model is scored.

    Raises:
        RunError: It is no run folder, model file or evaluation folder.
    """
    scored = ScoredFolder(path)
    if path.is_dir() and RunFolder(path).config.is_file():
        best = open_run(path).best_checkpoint
        if not best.is_file():
            raise RunError(f"{path} has no checkpoints/best.ckpt; finish it: train --resume {path}")
    elif path.is_dir() and scored.scores.is_file():
        read_scores(scored)
        if not scored.predictions.is_file():
            raise RunError(f"{path} has no {scored.predictions.name}; evaluate that model again")
    elif not (path.is_file() and path.suffix in {".ckpt", ".onnx"}):
        raise RunError(f"{path} is nothing to compare with; name a run folder, a .ckpt or .onnx file, or an evaluation")


def baseline_is_correct(
    path: Path, images: LabelledImages, overrides: OverrideLike = (), scoring: Progress | None = None
) -> Baseline:
    """Where another model is right.

    Args:
        path: What `check_baseline` accepts.
        images: The images of the evaluation.
        overrides: Settings with which a run or a model file is scored where its predictions are not there.
        scoring: Told how many images have been scored with it.

    Raises:
        UserError: An evaluation folder is of other photos, or the model cannot be scored on these.
    """
    if path.is_dir() and not RunFolder(path).config.is_file():
        return _from_folder(ScoredFolder(path), _digests_beside(path), images)
    if path.is_dir():
        with contextlib.suppress(UserError):  # then it is scored anew
            return _from_run(RunFolder(path), images)
    predictions = score_on_same_images(path, images, overrides, scoring=scoring).predictions
    return Baseline(predictions.is_correct, "the same for both")


def _from_run(run: RunFolder, images: LabelledImages) -> Baseline:
    """What the best weights of a run said when they were scored.

    Raises:
        UserError: They were not scored on these photos.
    """
    for folder in (run.scored("test"), run.scored("val")):
        if not folder.scores.is_file() or read_scores(folder).model != "checkpoints/best.ckpt":
            continue  # val/ may be of the last epoch
        if folder.scores.stat().st_mtime_ns < run.best_checkpoint.stat().st_mtime_ns:
            continue  # the training goes on, and has found better weights since
        with contextlib.suppress(DataError):
            return _from_folder(folder, _digests_beside(folder.root), images)
    raise DataError(f"{run.root} was not scored on these photos")


def _from_folder(folder: ScoredFolder, digests: Mapping[str, str], images: LabelledImages) -> Baseline:
    """Pairs by content where that is known of all photos, else by file.

    Raises:
        DataError: The photos are not the same.
    """
    said = {row.file: row.predicted for row in read_predictions_csv(folder.predictions)}
    if digests and set(said) <= digests.keys():
        keys, there, how = images.digests, {digests[file]: label for file, label in said.items()}, "paired by content"
    else:
        keys, there, how = tuple(images.files), said, "paired by file"
    if set(keys) != there.keys():
        num_here, num_common = len(set(keys)), len(set(keys) & there.keys())
        raise DataError(
            f"{folder.root} is of other photos: {num_common} are in both ({how}), of {num_here} here and {len(there)}"
            " there; name the run or the model file instead, which is then scored on the same photos"
        )
    names = [images.classes[label] for label in images.labels.tolist()]
    return Baseline(np.array([there[key] == name for key, name in zip(keys, names, strict=True)], bool), how)


def _digests_beside(folder: Path) -> dict[str, str]:
    """Content hashes by file of a run's split; none for a folder that is not of one."""
    run = RunFolder(folder.resolve().parent)
    if folder.name not in {"train", "val", "test"} or not run.split.is_file():
        return {}
    return read_digests(run.split)
