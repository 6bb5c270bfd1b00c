"""Reads a `ScoredFolder` into `ScoredData`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier_training.files.text import plain_text
from classifier_training.pages.read.files_inside import FilesInside
from classifier_training.pages.read.prediction_columns import read_predictions
from classifier_training.pages.read.reading import (
    DamagedFileError,
    Fields,
    Reader,
    is_count,
    read_fields,
    read_rows,
)
from classifier_training.pages.read.scored_data import CalibrationBin, ClassRow, CoveragePoint, Example, ScoredData
from classifier_training.run.folder import ScoredFolder

SCORE_NAMES = ("top1", "top5", "balanced_accuracy", "macro_f1")
_MAX_PICTURES = 10_000
_MAX_POINTS = 10_000
_WHY = frozenset({"worst", "least_certain", "cell"})


def read_scored(
    reader: Reader, folder: ScoredFolder, *, with_predictions: bool = False, absent: str | None = None
) -> ScoredData | None:
    """Reads what there is; None where there are no scores.

    Args:
        reader: Gets a sentence for each file that gives nothing.
        folder: The folder.
        with_predictions: Read the table of all images, too.
        absent: What the page lacks where the folder has no scores; None: nothing worth a sentence.
    """
    scored = reader.read(folder.scores, _read_scores, absent)
    if scored is None:
        return None
    index_of = {name: index for index, name in enumerate(scored.classes)}
    confusion = reader.read(
        folder.confusion, partial(_read_confusion, classes=scored.classes), "there is no confusion matrix"
    )
    images = reader.read(
        folder.images,
        partial(_read_examples, epoch=scored.epoch, index_of=index_of, reader=reader),
        "no images are shown",
    )
    predictions = None
    if with_predictions:
        read = partial(read_predictions, index_of=index_of)
        predictions = reader.read(folder.predictions, read, "it is not known which images were right")
    return replace(
        scored,
        confusion=confusion,
        images=() if images is None else images[0],
        examples_epoch=None if images is None else images[1],
        predictions=predictions,
    )


def scores_of_results(root: Path, values: Any, *, split: str, epoch: int | None) -> ScoredData:
    """The scores that ``results.json`` holds, which has them in runs of every version.

    Args:
        root: The run folder.
        values: What stands below the split in that file.
        split: The split.
        epoch: Of the weights, from 0.

    Raises:
        DamagedFileError: They are none.
    """
    fields = Fields(values, split)
    rows = tuple(_class_row(row) for row in fields.objects("classes"))
    confusion = [Fields({"row": row}, "confusion").counts("row") for row in fields.items("confusion")]
    if any(len(row) != len(rows) for row in confusion) or len(confusion) != len(rows):
        raise DamagedFileError(f"has a confusion matrix that is not {len(rows)} x {len(rows)}")
    return ScoredData(
        root=root / split,
        description=f"the {split} split",
        split=split,
        epoch=epoch,
        model="checkpoints/best.ckpt",
        classes=tuple(row.name for row in rows),
        num_images=fields.count("num_images"),
        top1=fields.fraction("top1"),
        top5=fields.fraction("top5"),
        balanced_accuracy=fields.fraction("balanced_accuracy"),
        macro_f1=fields.fraction("macro_f1"),
        confidence_level=0.95,
        intervals=dict.fromkeys(SCORE_NAMES),
        per_class=rows,
        expected_calibration_error=None,
        calibration=(),
        coverage=(),
        num_trained_on=0,
        left_out=(),
        confusion=np.array(confusion, dtype=np.int64),
        images=(),
        predictions=None,
    )


def _read_scores(path: Path) -> ScoredData:
    fields = read_fields(path)
    classes, rows = fields.texts("classes"), tuple(_class_row(row) for row in fields.objects("per_class"))
    if len(classes) < 1 or tuple(row.name for row in rows) != classes:
        raise DamagedFileError("has other classes in per_class than in classes")
    calibration, intervals = fields.object("calibration"), fields.object("intervals")
    return ScoredData(
        root=path.parent,
        description=fields.text("description"),
        split=fields.text_or_none("split"),
        epoch=fields.count_or_none("epoch"),
        model=fields.text("model"),
        classes=classes,
        num_images=fields.count("num_images"),
        top1=fields.fraction("top1"),
        top5=fields.fraction("top5"),
        balanced_accuracy=fields.fraction("balanced_accuracy"),
        macro_f1=fields.fraction("macro_f1"),
        confidence_level=fields.fraction("confidence_level"),
        intervals={name: intervals.interval_or_none(name) for name in SCORE_NAMES},
        per_class=rows,
        expected_calibration_error=calibration.fraction_or_none("expected_calibration_error"),
        calibration=tuple(_calibration_bin(one) for one in calibration.objects("bins", _MAX_POINTS)),
        coverage=tuple(_coverage_point(one) for one in fields.objects("coverage", _MAX_POINTS)),
        num_trained_on=fields.count("num_trained_on"),
        left_out=fields.texts("left_out"),
        confusion=None,
        images=(),
        predictions=None,
    )


def _class_row(fields: Fields) -> ClassRow:
    return ClassRow(
        name=fields.text("class"),
        precision=fields.fraction_or_none("precision"),
        recall=fields.fraction_or_none("recall"),
        f1=fields.fraction_or_none("f1"),
        support=fields.count("support"),
        precision_interval=fields.interval_or_none("precision_interval"),
        recall_interval=fields.interval_or_none("recall_interval"),
    )


def _calibration_bin(fields: Fields) -> CalibrationBin:
    return CalibrationBin(
        low=fields.fraction("low"),
        high=fields.fraction("high"),
        count=fields.count("count"),
        confidence=fields.fraction_or_none("confidence"),
        accuracy=fields.fraction_or_none("accuracy"),
    )


def _coverage_point(fields: Fields) -> CoveragePoint:
    return CoveragePoint(
        threshold=fields.fraction("threshold"),
        coverage=fields.fraction("coverage"),
        accuracy=fields.fraction_or_none("accuracy"),
    )


def _read_confusion(path: Path, classes: Sequence[str]) -> NDArray[np.int64]:
    rows = read_rows(path)
    header = tuple(map(plain_text, next(rows)[1:]))
    body = list(rows)
    if header != tuple(classes) or tuple(plain_text(row[0]) for row in body) != header:
        raise DamagedFileError("is of other classes than scores.json")
    try:
        counts = np.array([list(map(int, row[1:])) for row in body], dtype=np.int64)
    except (ValueError, OverflowError):
        raise DamagedFileError("has something else than whole numbers in it") from None
    if counts.min() < 0:
        raise DamagedFileError("has negative numbers in it")
    return counts


def _read_examples(
    path: Path, epoch: int | None, index_of: Mapping[str, int], reader: Reader
) -> tuple[tuple[Example, ...], int | None]:
    """The images, and their epoch where that is another one."""
    inside, file = FilesInside(path.parent), read_fields(path)
    drawn = file.values.get("epoch")
    other = drawn if is_count(drawn) and epoch is not None and drawn != epoch else None
    if other is not None and epoch is not None:
        reader.missing.append(
            f"{reader.name(path)} is of epoch {other + 1} and the scores beside it are of epoch {epoch + 1}"
        )
    images, num_lost = [], 0
    for fields in file.objects("pictures", _MAX_PICTURES):
        thumbnail, cam = (inside.find(fields.text_or_none(name)) for name in ("thumbnail", "cam"))
        num_lost += thumbnail is None and fields.values.get("thumbnail") is not None
        images.append(
            Example(
                index=fields.count("index"),
                file=fields.text("file"),
                true=_class_index(fields, "true", index_of),
                predicted=_class_index(fields, "predicted", index_of),
                confidence=fields.fraction("confidence"),
                loss=fields.number_or_none("loss"),
                why=_WHY.intersection(fields.texts("why")),
                thumbnail=thumbnail,
                cam=cam,
            )
        )
    if num_lost:
        reader.missing.append(
            f"{num_lost} of the {len(images)} images that {reader.name(path)} names are gone, and shown by name"
        )
    return tuple(images), other


def _class_index(fields: Fields, key: str, index_of: Mapping[str, int]) -> int:
    """A class that is given by its name, or by its index."""
    value = fields.values.get(key)
    if is_count(value) and value < len(index_of):
        return value
    index = index_of.get(fields.text(key))
    if index is None:
        raise DamagedFileError(f"names a class as {key} of {fields.where} that scores.json does not know")
    return index
