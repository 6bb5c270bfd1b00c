"""Writes the files of one scored pass, and reads its scores."""

from __future__ import annotations

from classifier_training.errors import RunError
from classifier_training.files.text import plain_text
from classifier_training.metrics.intervals import CONFIDENCE_LEVEL, wilson_intervals
from classifier_training.results.confidence import calibrate, coverage_curve
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.results.scores_file import ClassRow, ScoresFile
from classifier_training.results.tables import write_confusion_csv, write_predictions_csv, write_probabilities
from classifier_training.run.folder import ScoredFolder
from classifier_training.run.records import DamagedFileError, read_record, write_record


def write_scored(folder: ScoredFolder, scored: ScoredPass) -> None:
    """Writes the tables and ``scores.json`` of a pass, each file of them atomically.

    ``probabilities.npy`` is written where the probabilities of all classes were kept, which training does not do after
    each epoch, and nobody does beyond `metrics.accumulator.MAX_PROBABILITIES`.

    Args:
        folder: Where; it is created.
        scored: The pass.
    """
    images = scored.images
    folder.probabilities.unlink(missing_ok=True)  # a kill in between must not leave those of another pass
    write_predictions_csv(folder.predictions, scored.predictions, images.classes, images.files, scored.tta)
    write_probabilities(folder.probabilities, scored.predictions.probabilities)
    write_confusion_csv(folder.confusion, scored.scores.cells, images.classes)
    # last: whoever sees new scores finds the tables that they belong to
    write_record(folder.scores, scores_file(scored))


def scores_file(scored: ScoredPass) -> ScoresFile:
    """The content of ``scores.json``."""
    images, scores = scored.images, scored.scores
    return ScoresFile(
        description=plain_text(images.description),
        split=images.split,
        epoch=scored.epoch,
        model=plain_text(scored.model),
        classes=images.classes,
        num_images=scores.num_images,
        top1=scores.top1,
        top5=scores.top5,
        balanced_accuracy=scores.balanced_accuracy,
        macro_f1=scores.macro_f1,
        confidence_level=CONFIDENCE_LEVEL,
        intervals=scored.intervals.by_name(),
        per_class=class_rows(scored),
        calibration=calibrate(scored.predictions),
        coverage=coverage_curve(scored.predictions),
        num_trained_on=scored.num_trained_on,
        left_out=tuple(map(plain_text, images.left_out)),
        precision=scored.precision,
        content=images.content,
        copies=tuple(map(plain_text, images.copies)),
        trained_on=tuple(map(plain_text, scored.trained_on)),
        tta=scored.tta,
        weights=scored.weights,
        temperature=scored.temperature,
        decision=scored.decision,
        unknown=scored.unknown,
    )


def class_rows(scored: ScoredPass) -> tuple[ClassRow, ...]:
    """The scores of each class with their intervals."""
    cells = scored.scores.cells
    precision = wilson_intervals(cells.hits, cells.num_predicted).tolist()
    recall = wilson_intervals(cells.hits, cells.support).tolist()
    return tuple(
        ClassRow(
            name=name,
            precision=one.precision,
            recall=one.recall,
            f1=one.f1,
            support=one.support,
            precision_interval=None if one.precision is None else tuple(of_precision),
            recall_interval=None if one.recall is None else tuple(of_recall),
        )
        for name, one, of_precision, of_recall in zip(
            scored.classes, scored.scores.classes, precision, recall, strict=True
        )
    )


def read_scores(folder: ScoredFolder) -> ScoresFile:
    """Reads the ``scores.json`` of a folder.

    Raises:
        RunError: It is missing, damaged, or of another version of this program.
    """
    try:
        return read_record(folder.scores, ScoresFile)
    except FileNotFoundError:
        raise RunError(f"{folder.root} holds no scores: it has no {folder.scores.name}") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RunError(f"cannot read the scores from {folder.scores}: {reason}") from None
    except DamagedFileError as error:
        raise RunError(f"{folder.scores} {error}; evaluate the model again") from None
    except ImportError:  # where only what deploys a model is installed
        raise RunError(f"reading {folder.scores} needs pydantic; install it: pip install pydantic") from None
