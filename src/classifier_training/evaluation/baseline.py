"""On which images of an evaluation a baseline is correct: from its earlier predictions, or by scoring it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from classifier_training.data.splits.file import read_digests
from classifier_training.errors import DataError, RunError, UserError
from classifier_training.evaluation.evaluate import score_on_same_images
from classifier_training.files.text import is_file, is_folder
from classifier_training.results.folder import read_scores
from classifier_training.results.scored_pass import LabelledImages
from classifier_training.results.tables import check_probabilities, read_predictions_csv
from classifier_training.run.folder import DEPLOYED_SUFFIXES, RunFolder, ScoredFolder, open_run
from classifier_training.types import Progress, TestTimeAugmentation

if TYPE_CHECKING:
    from classifier_training.config.overrides import OverrideLike


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A baseline on the N images of an evaluation.

    Attributes:
        is_correct: bool (N,), in the order of the evaluation.
        how: How its images were paired with these, human-readable.
    """

    is_correct: NDArray[np.bool_]
    how: str


def check_baseline(path: Path, tta: TestTimeAugmentation = "none") -> None:
    """Refuses a baseline that cannot be compared with, before the model is scored with that test-time augmentation.

    Raises:
        RunError: It is not a run folder, model file or evaluation folder, its predictions are damaged, or of another
            test-time augmentation.
    """
    scored = ScoredFolder(path)
    if is_folder(path) and RunFolder(path).config.is_file():
        best = open_run(path).best_checkpoint
        if not best.is_file():
            raise RunError(f"{path} has no checkpoints/best.ckpt; finish it: train --resume {path}")
    elif is_folder(path) and scored.scores.is_file():
        _check_tta(scored, tta)
        if not scored.predictions.is_file():
            raise RunError(f"{path} has no {scored.predictions.name}; evaluate that model again")
        _read_predicted(scored)
    elif not (is_file(path) and path.suffix in {".ckpt", *DEPLOYED_SUFFIXES}):
        raise RunError(f"{path} cannot be compared with; name a run folder, a .ckpt or .onnx file, or an evaluation")


def baseline_is_correct(
    path: Path,
    images: LabelledImages,
    overrides: OverrideLike = (),
    *,
    tta: TestTimeAugmentation = "none",
    scoring: Progress | None = None,
) -> Baseline:
    """Whether a baseline that `check_baseline` accepts is correct on each image; scored where predictions are missing.

    A run whose predictions are damaged is scored again, with a warning; and so is a run where ``tta`` is not ``none``,
    as its own scores are without test-time augmentation.

    Raises:
        UserError: An evaluation folder is damaged or of other images, or the model cannot be scored on these.
    """
    if is_folder(path) and not RunFolder(path).config.is_file():
        return _from_folder(ScoredFolder(path), _digests_of_run(path), images)
    if is_folder(path) and tta == "none":
        try:
            return _from_run(RunFolder(path), images)
        except DataError:
            pass  # its predictions are of other photos, so it is scored on these
        except UserError as error:
            warnings.warn(f"the baseline {path} is scored again: {error}", stacklevel=2)
    predictions = score_on_same_images(path, images, overrides, tta=tta, scoring=scoring).predictions
    return Baseline(predictions.is_correct, "the same for both")


def _check_tta(folder: ScoredFolder, tta: TestTimeAugmentation) -> None:
    """Refuses scores of another test-time augmentation: a difference would be that of the augmentations."""
    found = read_scores(folder).tta
    if found == tta:
        return
    here, there = (
        "without test-time augmentation" if one == "none" else f"with test-time augmentation {one}"
        for one in (tta, found)
    )
    raise RunError(
        f"{folder.root} was scored {there}, and this model is scored {here}; add --tta {found}, or name the run or the"
        f" model file instead, which is then scored {here} as well"
    )


def _from_run(run: RunFolder, images: LabelledImages) -> Baseline:
    """From the predictions of a run's best weights.

    Raises:
        UserError: They were not scored on these images.
    """
    for folder in (run.scored("test"), run.scored("val")):
        if not folder.scores.is_file() or read_scores(folder).model != "checkpoints/best.ckpt":
            continue  # val/ may be of the last epoch
        if folder.scores.stat().st_mtime_ns < run.best_checkpoint.stat().st_mtime_ns:
            continue  # the training has gone on and found better weights since
        with contextlib.suppress(DataError):
            return _from_folder(folder, _digests_of_run(folder.root), images)
    raise DataError(f"{run.root} was not scored on these photos")


def _from_folder(folder: ScoredFolder, digests: Mapping[str, str], images: LabelledImages) -> Baseline:
    """Pairs by content where that is known of all images, else by file.

    Raises:
        DataError: The images are not the same.
        RunError: The predictions are damaged.
    """
    content, predicted = read_scores(folder).content, _read_predicted(folder)
    if digests and set(predicted) <= digests.keys():
        keys, how = images.digests, "paired by content"
        other = {digests[file]: label for file, label in predicted.items()}
    else:
        keys, how, other = tuple(images.files), "paired by file", predicted
    if set(keys) != other.keys():
        num_here, num_common = len(set(keys)), len(set(keys) & other.keys())
        raise DataError(
            f"{folder.root} is of other photos: {num_common} are in both ({how}), of {num_here} here and {len(other)}"
            " there; name the run or the model file instead, which is then scored on the same photos"
        )
    if how == "paired by file" and None not in (content, images.content) and content != images.content:
        raise DataError(
            f"{folder.root} is of other photos: the files have the same names, but not the content that was scored;"
            " name the run or the model file instead, which is then scored on the photos as they are now"
        )
    names = [images.classes[label] for label in images.labels.tolist()]
    return Baseline(np.array([other[key] == name for key, name in zip(keys, names, strict=True)], bool), how)


def _read_predicted(folder: ScoredFolder) -> dict[str, str]:
    """The predicted class of each file.

    Raises:
        RunError: The table does not have the scores of ``scores.json``, as it is cut or changed; or a number is not
            finite.
    """
    scores, predicted, num_correct, num_rows = read_scores(folder), dict[str, str](), 0, 0
    for row in read_predictions_csv(folder.predictions):
        predicted[row.file] = row.predicted
        num_correct += row.predicted == row.true
        num_rows += 1
    expected = (scores.num_images, round(scores.top1 * scores.num_images))
    if (num_rows, num_correct) != expected:
        raise RunError(
            f"{folder.predictions} does not belong to {folder.scores.name}: it has {num_rows} predictions,"
            f" {num_correct} of them correct, not {expected[0]} and {expected[1]}; evaluate that model again"
        )
    check_probabilities(folder.probabilities, num_rows)
    return predicted


def _digests_of_run(folder: Path) -> dict[str, str]:
    """Content hashes by file of the run around a folder; empty for a folder outside a run."""
    run = RunFolder(folder.resolve().parent)
    if folder.name not in {"train", "val", "test"} or not run.split.is_file():
        return {}
    return read_digests(run.split)
