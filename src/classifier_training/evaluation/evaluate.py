"""`evaluate`: how good is a finished model on labelled photos?

Scoring an ONNX file needs numpy, Pillow and onnxruntime only; whatever needs more is imported where it is used.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from classifier_training.data.splits.file import read_digests
from classifier_training.errors import CheckpointError, ConfigError, explain_out_of_memory
from classifier_training.evaluation.decision import decided_by, fitted_as_given
from classifier_training.evaluation.folder import check_folder, make_free_folder, replaced_folder
from classifier_training.evaluation.onnx import score_onnx
from classifier_training.evaluation.photos import Chooser, ImageSelector, for_classes
from classifier_training.evaluation.settings import check_used, given_limit, given_root, read_given, scoring_settings
from classifier_training.files.text import is_file, is_folder, why_no_file
from classifier_training.imaging.views import check_tta
from classifier_training.inference.foreign import Description
from classifier_training.metrics.intervals import CONFIDENCE_LEVEL
from classifier_training.results.confidence import calibrate
from classifier_training.results.folder import class_rows, write_scored
from classifier_training.results.scored_pass import LabelledImages, ScoredPass
from classifier_training.run.folder import DEPLOYED_SUFFIXES, RunFolder, ScoredFolder, open_run
from classifier_training.run.records import to_json
from classifier_training.types import Progress, Split, TestTimeAugmentation
from classifier_training.warn import warn_instead_of_raise

if TYPE_CHECKING:
    from classifier_training.config.overrides import OverrideLike
    from classifier_training.config.schema import Config

_MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation(ScoredPass):
    """A `ScoredPass` of a finished model on images that were named for it.

    Attributes:
        name: A short name of the images, for a folder.
        folder: The folder that it was written to; None: nowhere.
        whole_split: The split of the model's run whose images are all among these and others too, which it was trained
            on; None: there is none.
    """

    name: str = "photos"
    folder: Path | None = None
    whole_split: Split | None = None

    @property
    def is_calibrated(self) -> bool:
        """Whether it has figures of what is fitted on the validation images of a run."""
        return any(one is not None for one in (self.temperature, self.decision, self.unknown))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": self.model,
            "photos": self.description,
            **self.scores.to_dict(self.classes),
            "classes": to_json(class_rows(self)),
            "precision": self.precision,
            "tta": self.tta,
            "confidence_level": CONFIDENCE_LEVEL,
            "intervals": self.intervals.to_dict(),
            "expected_calibration_error": calibrate(self.predictions).expected_calibration_error,
            "temperature": to_json(self.temperature),
            "decision": to_json(self.decision),
            "unknown": to_json(self.unknown),
            "num_trained_on": self.num_trained_on,
            "trained_on": list(self.trained_on),
            "left_out": list(self.images.left_out),
            "copies": list(self.images.copies),
            "folder": None if self.folder is None else str(self.folder),
        }


def evaluate(
    model: str | os.PathLike[str],
    photos: str | os.PathLike[str] | None = None,
    *overrides: OverrideLike,
    split: Split | None = None,
    current: bool = False,
    output: str | os.PathLike[str] | None = None,
    tta: TestTimeAugmentation = "none",
    checking: Progress | None = None,
    scoring: Progress | None = None,
    description: Description | None = None,
) -> Evaluation:
    """Scores a run, a checkpoint or an ONNX file on labelled photos.

    Args:
        model: A run folder (its best checkpoint), a ``.ckpt`` file, or an ``.onnx`` file.
        photos: A folder or a table; None: the photos of the model's own run.
        overrides: Settings that differ, such as ``"data.batch_size=64"``; those that scoring does not use are refused.
        split: ``train``, ``val`` or ``test``; None: test where there is one, else validation.
        current: Score the run's photos as they are now, also those that have been added since it began.
        output: Folder of the evaluation: new, empty, or of an earlier evaluation, which is replaced; None: not written.
        tta: Test-time augmentation: the mean over the views of ``flip`` or ``five``, in so many times the time.
        checking: Called with the number of files that have been checked.
        scoring: Called with the number of images that have been scored.
        description: What an ``.onnx`` file of another program does not say, by `inference.foreign.read_description`.

    Raises:
        UserError: The model, the photos or the folder cannot be used.

    Example:
        >>> evaluate("runs/shirts").scores.top1  # doctest: +SKIP
    """
    check_tta(tta)
    path, given = _model_file(Path(model)), read_given(overrides)
    run, new_root = _run_of(path), given_root(given)
    settings = scoring_settings(run, given, is_onnx=path.suffix in DEPLOYED_SUFFIXES)
    check_used(given, path, photos)
    _check_described(path, description)
    fitted = fitted_as_given(path, run, given, settings)
    if output is not None:
        check_folder(Path(output))
    selector = ImageSelector(run, photos or new_root, settings, split, checking, current, new_root is not None)
    scored = _score(path, selector, settings, scoring, given_limit(given), tta, description)
    evaluation = _evaluation_of(decided_by(scored, fitted), run, selector.name or scored.images.split or "photos")
    return evaluation if output is None else write_evaluation(evaluation, Path(output))


def score_on_same_images(
    model: str | os.PathLike[str],
    images: LabelledImages,
    *overrides: OverrideLike,
    tta: TestTimeAugmentation = "none",
    scoring: Progress | None = None,
) -> ScoredPass:
    """Scores another model on the images of an evaluation, in the same order; arguments as of `evaluate`.

    Raises:
        UserError: The model cannot be used, or does not know a class of the images.
    """
    path = _model_file(Path(model))
    given = read_given(overrides)
    settings = scoring_settings(_run_of(path), given, is_onnx=path.suffix in DEPLOYED_SUFFIXES)
    return _score(path, lambda classes, _: for_classes(images, classes), settings, scoring, given_limit(given), tta)


def write_evaluation(evaluation: Evaluation, folder: Path | None = None) -> Evaluation:
    """Writes an evaluation folder, whole or not at all.

    The folder is as ``output`` of `evaluate`; None: a new one in the model's run, else in the working directory.

    Raises:
        RunError: The folder holds something else, or belongs to a run.
    """
    if folder is None:
        run = _run_of(Path(evaluation.model))
        parent, prefix = (RunFolder(Path()), f"{Path(evaluation.model).stem}-") if run is None else (run, "")
        suffix = "" if evaluation.tta == "none" else f"-{evaluation.tta}"
        folder = make_free_folder(parent.evaluations, f"{prefix}{evaluation.name}{suffix}")
        try:
            return write_evaluation(evaluation, folder)
        except BaseException:
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise
    check_folder(folder)
    with replaced_folder(folder) as new:
        write_scored(ScoredFolder(new), replace(evaluation, model=str(Path(evaluation.model).absolute())))
        with warn_instead_of_raise("report.html"):  # where libraries are missing, the scores are written all the same
            from classifier_training.pages.write import report
            from classifier_training.results.figures import plot_scored

            plot_scored(ScoredFolder(new), evaluation)
            report(new)
    return replace(evaluation, folder=folder)


def _score(
    path: Path,
    choose: Chooser,
    settings: Config | None,
    scoring: Progress | None,
    max_pixels: int | None,
    tta: TestTimeAugmentation,
    description: Description | None = None,
) -> ScoredPass:
    batch_size = 32 if settings is None else settings.data.images_per_batch
    with explain_out_of_memory(f"scoring {path}", f"lower data.batch_size (now {batch_size})"):
        if path.suffix in DEPLOYED_SUFFIXES:
            return score_onnx(
                path, choose, settings, max_pixels=max_pixels, tta=tta, progress=scoring, description=description
            )
        from classifier_training.config.schema import Config
        from classifier_training.evaluation.checkpoint import score_checkpoint

        return score_checkpoint(path, choose, settings or Config(), max_pixels=max_pixels, tta=tta, progress=scoring)


def _check_described(path: Path, description: Description | None) -> None:
    """Refuses what was said of a file that describes itself."""
    if description is not None and path.suffix != ".onnx":
        raise ConfigError(f"--labels and --preprocessing describe an .onnx file; {path} knows its own: leave them out")


def _evaluation_of(scored: ScoredPass, run: RunFolder | None, name: str) -> Evaluation:
    values = {field.name: getattr(scored, field.name) for field in fields(scored)}
    trained_on = _trained_on(run, scored.images)
    values |= {"num_trained_on": len(trained_on), "trained_on": tuple(trained_on[:_MOST_NAMED])}
    whole = _whole_split(run, scored.images) if run is not None and trained_on else None
    return Evaluation(**values, whole_split=whole, name=name)


def _trained_on(run: RunFolder | None, images: LabelledImages) -> list[str]:
    """Those of the images that are in the training split of the model's run, by content."""
    if run is None or not run.split.is_file():
        return []
    trained_on = set(read_digests(run.split, "train").values())
    return [file for file, digest in zip(images.files, images.digests, strict=True) if digest in trained_on]


def _whole_split(run: RunFolder, images: LabelledImages) -> Split | None:
    """The split of a run, test or else validation, that is a part of these images, by content; None: it is not."""
    splits: tuple[Split, ...] = ("test", "val")
    for split in splits:
        recorded = set(read_digests(run.split, split).values())
        if recorded:
            return split if recorded < set(images.digests) else None
    return None


def _model_file(path: Path) -> Path:
    if is_folder(path):
        best = open_run(path).best_checkpoint
        if not best.is_file():
            raise CheckpointError(f"{path} has no checkpoints/best.ckpt; finish it: train --resume {path}")
        return best
    if path.suffix not in {".ckpt", *DEPLOYED_SUFFIXES}:
        raise CheckpointError(f"{path} is not a run folder, .ckpt, .onnx or .xml file")
    if not is_file(path):
        raise CheckpointError(why_no_file(path, f"no such file: {path}"))
    return path


def _run_of(path: Path) -> RunFolder | None:
    """The run that a checkpoint or an exported model belongs to."""
    run = RunFolder(path.resolve().parent.parent)
    return run if run.config.is_file() else None
