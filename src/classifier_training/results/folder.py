"""Writes and reads what is known of one pass of a model over labelled images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from classifier_training.errors import RunError
from classifier_training.files.atomic import write_json
from classifier_training.files.text import plain_text
from classifier_training.metrics.calibration import calibrate
from classifier_training.metrics.coverage import coverage_curve
from classifier_training.metrics.intervals import CONFIDENCE_LEVEL, wilson_intervals
from classifier_training.metrics.scores import Scores
from classifier_training.results.confusion_csv import write_confusion_csv
from classifier_training.results.predictions_csv import write_predictions_csv, write_probabilities
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.run.folder import ScoredFolder

FORMAT: Final = 1
_NEEDED: Final = ("classes", "num_images", "top1", "intervals", "per_class", "calibration", "coverage")


def write_scored(folder: ScoredFolder, scored: ScoredPass) -> None:
    """Writes the tables and ``scores.json`` of a pass, each file of them atomically.

    ``probabilities.npy`` is written where the probabilities of all classes were kept, which training does not do after
    each epoch, and nobody does beyond `metrics.accumulator.MAX_PROBABILITIES`.

    Args:
        folder: Where; it is created.
        scored: The pass.
    """
    images = scored.images
    write_predictions_csv(folder.predictions, scored.predictions, images.classes, images.files)
    write_probabilities(folder.probabilities, scored.predictions.probabilities)
    write_confusion_csv(folder.confusion, scored.scores.confusion, images.classes)
    about = {
        "format": FORMAT,
        "description": plain_text(images.description),
        "split": images.split,
        "epoch": scored.epoch,
        "model": plain_text(scored.model),
    }
    rest = {"num_trained_on": scored.num_trained_on, "left_out": [plain_text(file) for file in images.left_out]}
    # last: whoever sees new scores finds the tables that they are of
    write_json(folder.scores, about | _measured(scored) | rest)


def read_scores(folder: ScoredFolder) -> dict[str, Any]:
    """Reads the ``scores.json`` of a folder.

    Raises:
        RunError: There is none, or it is damaged, or of another version of this program.
    """
    path = folder.scores
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{folder.root} holds no scores: it has no {path.name}") from None
    except OSError as error:
        raise RunError(f"cannot read the scores from {path}: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:  # no UTF-8, or no JSON
        raise RunError(f"{path} is damaged ({error}); evaluate the model again") from None
    version = values.get("format") if isinstance(values, dict) else None
    if version != FORMAT:
        raise RunError(f"{path} is of format {version!r}, and this program reads {FORMAT}; evaluate the model again")
    missing = [name for name in _NEEDED if name not in values]
    if missing:
        raise RunError(f"{path} lacks {', '.join(missing)}; evaluate the model again")
    return dict(values)


def _measured(scored: ScoredPass) -> dict[str, Any]:
    scores, predictions = scored.scores, scored.predictions
    return {
        "classes": list(scored.classes),
        "num_images": scores.num_images,
        **scores.by_name(),
        "confidence_level": CONFIDENCE_LEVEL,
        "intervals": scored.intervals.to_dict(),
        "per_class": _per_class(scores, scored.classes),
        "calibration": calibrate(predictions).to_dict(),
        "coverage": [point.to_dict() for point in coverage_curve(predictions)],
    }


def _per_class(scores: Scores, classes: Sequence[str]) -> list[dict[str, Any]]:
    hits = scores.confusion.diagonal()
    precision = wilson_intervals(hits, scores.confusion.sum(axis=0)).tolist()
    recall = wilson_intervals(hits, scores.confusion.sum(axis=1)).tolist()
    return [
        {
            "class": name,
            "precision": one.precision,
            "recall": one.recall,
            "f1": one.f1,
            "support": one.support,
            "precision_interval": None if one.precision is None else of_precision,
            "recall_interval": None if one.recall is None else of_recall,
        }
        for name, one, of_precision, of_recall in zip(classes, scores.classes, precision, recall, strict=True)
    ]
