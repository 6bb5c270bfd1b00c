"""The predictions of all folds of a cross-validation, taken together: each photo's by a model that never saw it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from classifier_training.data.splits.file import read_split
from classifier_training.errors import RunError
from classifier_training.metrics.confusion import Confusion
from classifier_training.metrics.fold_interval import fold_interval
from classifier_training.metrics.intervals import CONFIDENCE_LEVEL, score_intervals
from classifier_training.metrics.scores import Predictions, scores_from_confusion
from classifier_training.models.checkpoint import read_checkpoint
from classifier_training.pages.write import report
from classifier_training.results.figures import plot_scored
from classifier_training.results.folder import read_scores, write_scored
from classifier_training.results.folds_file import FoldRow, FoldsFile
from classifier_training.results.results_file import ResultsFile
from classifier_training.results.scored_pass import LabelledImages, ScoredPass
from classifier_training.results.tables import read_predictions_csv
from classifier_training.run.folder import RunFolder
from classifier_training.run.folds_folder import FoldsFolder
from classifier_training.run.records import read_record, write_record
from classifier_training.types import Preprocessing
from classifier_training.warn import warn_instead_of_raise

MEANS: Final = ("top1", "balanced_accuracy", "macro_f1")


def write_out_of_fold(folder: FoldsFolder, scored: ScoredPass, summary: FoldsFile, *, draw: bool) -> None:
    """Writes the predictions of all folds and the summary of the folds; with ``draw`` also figures and the page."""
    write_record(folder.summary, summary)
    write_scored(folder.scored, scored)
    if draw:
        plot_scored(folder.scored, scored)
        with warn_instead_of_raise(folder.report.name):
            report(folder.root)


def out_of_fold(runs: Sequence[RunFolder]) -> ScoredPass:
    """The predictions of finished runs, each on the photos of its fold, taken together.

    Raises:
        RunError: Files of a run are missing or damaged.
    """
    return take_together([_of_fold(run) for run in runs])


def take_together(passes: Sequence[ScoredPass]) -> ScoredPass:
    """One pass over the images of several, which have the same classes."""
    first = passes[0]
    columns = [one.predictions for one in passes]
    probabilities = [column.probabilities for column in columns if column.probabilities is not None]
    predictions = Predictions(
        labels=np.concatenate([column.labels for column in columns]),
        predicted=np.concatenate([column.predicted for column in columns]),
        confidence=np.concatenate([column.confidence for column in columns]),
        losses=np.concatenate([column.losses for column in columns]),
        probabilities=None if len(probabilities) < len(passes) else np.concatenate(probabilities),
    )
    cells = Confusion.from_pairs(predictions.labels, predictions.predicted, len(first.classes))
    scores = scores_from_confusion(cells, sum(round(one.scores.top5 * one.scores.num_images) for one in passes))
    images = LabelledImages(
        files=[file for one in passes for file in one.images.files],
        labels=predictions.labels,
        classes=first.classes,
        description=f"all photos of {len(passes)} folds, each by the run that has not trained on it",
        split=None,
        records=[record for one in passes for record in one.images.records or ()],
        digests=tuple(digest for one in passes for digest in one.images.digests),
    )
    return replace(
        first,
        images=images,
        model=f"{len(passes)} runs, one for each fold",
        scores=scores,
        predictions=predictions,
        intervals=score_intervals(scores),
        epoch=None,
    )


def summarise_folds(runs: Sequence[RunFolder], *, has_final: bool) -> FoldsFile:
    """The scores of each fold and their means."""
    rows = []
    for number, run in enumerate(runs, 1):
        results = read_record(run.results, ResultsFile)
        final = results.final
        if final is None:
            raise RunError(f"{run.root} has no final scores; resume the cross-validation")
        rows.append(
            FoldRow(
                fold=number,
                num_images=final.num_images,
                top1=final.top1,
                balanced_accuracy=final.balanced_accuracy,
                macro_f1=final.macro_f1,
                best_epoch=results.best_epoch,
                seconds=results.seconds,
            )
        )
    columns = {name: [float(getattr(row, name)) for row in rows] for name in MEANS}
    return FoldsFile(
        folds=tuple(rows),
        means={name: statistics.fmean(values) for name, values in columns.items()},
        intervals={name: fold_interval(values, CONFIDENCE_LEVEL) for name, values in columns.items()},
        confidence_level=CONFIDENCE_LEVEL,
        has_final=has_final,
    )


def _of_fold(run: RunFolder) -> ScoredPass:
    """The final pass of a fold's run, read from its files."""
    folder = run.scored("test")
    scores, images = read_scores(folder), read_split(run.split, "test")
    rows = list(read_predictions_csv(folder.predictions))
    if len(rows) != len(images):
        raise RunError(f"{folder.predictions} has {len(rows)} rows for {len(images)} photos; evaluate {run.root} again")
    index = {name: number for number, name in enumerate(scores.classes)}
    predictions = Predictions(
        labels=np.array([index[row.true] for row in rows], np.int64),
        predicted=np.array([index[row.predicted] for row in rows], np.int64),
        confidence=np.array([row.confidence for row in rows], np.float32),
        losses=np.array([row.loss for row in rows], np.float32),
        probabilities=_probabilities(folder.probabilities),
    )
    cells = Confusion.from_pairs(predictions.labels, predictions.predicted, len(scores.classes))
    found = scores_from_confusion(cells, round(scores.top5 * scores.num_images))
    preprocessing = read_checkpoint(run.best_checkpoint)["hyper_parameters"]["preprocessing"]
    return ScoredPass(
        images=LabelledImages(
            files=[row.file for row in rows],
            labels=predictions.labels,
            classes=scores.classes,
            description=scores.description,
            split="test",
            records=[sample.image for sample in images],
            digests=tuple(digest.tobytes().hex() for digest in images.digests),
        ),
        model=scores.model,
        scores=found,
        predictions=predictions,
        intervals=score_intervals(found, bootstrap=False),
        preprocessing=Preprocessing.from_dict(preprocessing),
        precision=scores.precision,
    )


def _probabilities(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None:
    return np.load(path, allow_pickle=False) if path.is_file() else None
