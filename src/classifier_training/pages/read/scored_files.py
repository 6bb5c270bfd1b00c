"""Reads a `ScoredFolder` into `ScoredData`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np

from classifier_training.files.tables import TableError, read_columns
from classifier_training.files.text import plain_text
from classifier_training.metrics.score_names import SCORE_TITLES
from classifier_training.pages.read.files_inside import FilesInside
from classifier_training.pages.read.reading import Reader
from classifier_training.pages.read.scored_data import Example, PredictionColumns, ScoredData
from classifier_training.results.examples_file import ExamplesFile
from classifier_training.results.results_file import SplitScores
from classifier_training.results.scores_file import CalibrationBins, ScoresFile
from classifier_training.results.tables import COLUMNS, read_confusion_csv
from classifier_training.run.folder import ScoredFolder
from classifier_training.run.records import DamagedFileError


def read_scored(
    reader: Reader, folder: ScoredFolder, *, with_predictions: bool = False, absent: str | None = None
) -> ScoredData | None:
    """Reads the files of a pass; None where there are no scores.

    Args:
        reader: Gets a sentence for each file that cannot be used.
        folder: The folder.
        with_predictions: Read the table of all images, too.
        absent: What the page lacks where the folder has no scores; None: nothing worth a sentence.
    """
    scores = reader.record(folder.scores, ScoresFile, absent)
    if scores is None:
        return None
    index_of = {name: index for index, name in enumerate(scores.classes)}
    confusion = reader.read(
        folder.confusion, partial(read_confusion_csv, classes=scores.classes), "there is no confusion matrix"
    )
    file = reader.record(folder.images, ExamplesFile, "no images are shown")
    images = None if file is None else reader.read(folder.images, lambda path: _examples(reader, path, file, index_of))
    predictions = None
    if with_predictions:
        read = partial(read_predictions, index_of=index_of)
        predictions = reader.read(folder.predictions, read, "it is not known which images were predicted correctly")
    examples_epoch = None if file is None or scores.epoch in (None, file.epoch) else file.epoch
    if examples_epoch is not None and scores.epoch is not None:
        of_images = f"{reader.name(folder.images)} is of epoch {examples_epoch + 1}"
        reader.missing.append(f"{of_images}, but the scores are of epoch {scores.epoch + 1}")
    return ScoredData(
        **{one.name: getattr(scores, one.name) for one in fields(scores)},
        root=folder.root,
        confusion=confusion,
        images=images or (),
        predictions=predictions,
        examples_epoch=examples_epoch,
    )


def scores_of_results(root: Path, scores: SplitScores, *, split: str, epoch: int) -> ScoredData:
    """The final scores in ``results.json``, which has them in runs of every version; the epoch counts from 0."""
    return ScoredData(
        root=root / split,
        description=f"the {split} split",
        split=split,
        epoch=epoch,
        model="checkpoints/best.ckpt",
        classes=tuple(row.name for row in scores.classes),
        num_images=scores.num_images,
        top1=scores.top1,
        top5=scores.top5,
        balanced_accuracy=scores.balanced_accuracy,
        macro_f1=scores.macro_f1,
        confidence_level=0.95,
        intervals=dict.fromkeys(SCORE_TITLES),
        per_class=scores.classes,
        calibration=CalibrationBins(),
        coverage=(),
        num_trained_on=0,
        left_out=(),
        precision=scores.precision,
        confusion=scores.cells,
    )


def _examples(reader: Reader, path: Path, file: ExamplesFile, index_of: Mapping[str, int]) -> tuple[Example, ...]:
    inside = FilesInside(path.parent)
    images = tuple(
        Example(
            index=row.index,
            file=row.file,
            true=_class_index(row.true, index_of),
            predicted=_class_index(row.predicted, index_of),
            confidence=row.confidence,
            loss=row.loss,
            why=frozenset(row.why),
            thumbnail=inside.find(row.thumbnail),
            cam=inside.find(row.cam),
        )
        for row in file.pictures
    )
    named, found = ([one for one in rows if one.thumbnail is not None] for rows in (file.pictures, images))
    if len(found) < len(named):
        gone = f"{len(named) - len(found)} of the {len(images)} images that {reader.name(path)} names"
        reader.missing.append(f"{gone} are gone; only their names are shown")
    return images


def _class_index(name: str | int, index_of: Mapping[str, int]) -> int:
    if isinstance(name, int) and name < len(index_of):
        return name
    index = index_of.get(str(name))
    if index is None:
        raise DamagedFileError("names a class that scores.json does not know")
    return index


def read_predictions(path: Path, index_of: Mapping[str, int]) -> PredictionColumns:
    """Reads the first five columns of ``predictions.csv``; classes become their index.

    Raises:
        DamagedFileError: The file is not such a table.
    """
    files, labels, predicted, confidence, losses = [], [], [], [], []
    try:
        for name, true, guess, probability, loss in read_columns(path, COLUMNS):
            files.append(plain_text(name))
            labels.append(index_of[plain_text(true)])
            predicted.append(index_of[plain_text(guess)])
            confidence.append(float(probability))
            losses.append(float(loss))
    except TableError as error:
        raise DamagedFileError(str(error)) from None
    except KeyError:
        raise DamagedFileError(f"names a class in row {len(files)} that scores.json does not know") from None
    except ValueError:
        raise DamagedFileError(f"has a value that is not a number in row {len(files)}") from None
    return PredictionColumns(
        files=tuple(files),
        labels=np.array(labels, dtype=np.int64),
        predicted=np.array(predicted, dtype=np.int64),
        confidence=np.array(confidence, dtype=np.float64),
        losses=np.array(losses, dtype=np.float64),
    )
