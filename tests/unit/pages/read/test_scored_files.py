from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.run_folders import HOSTILE_FILES, HOSTILE_NAMES, RunMaker, edit_json

from classifier_training.files.atomic import write_json
from classifier_training.files.text import plain_text
from classifier_training.pages.read.reading import Reader
from classifier_training.pages.read.scored_files import read_predictions, read_scored, scores_of_results
from classifier_training.results.results_file import SplitScores
from classifier_training.results.tables import write_predictions_csv
from classifier_training.run.folder import ScoredFolder
from classifier_training.run.records import DamagedFileError, read_record

MAKER = RunMaker(3, num_images=30, num_pictures=6, absent=[2])


@pytest.fixture
def folder(tmp_path: Path) -> ScoredFolder:
    return MAKER.make_evaluation(tmp_path)


def test_everything_that_was_written_is_read(folder: ScoredFolder) -> None:
    reader = Reader(folder.root)

    scored = read_scored(reader, folder, with_predictions=True)

    expected = MAKER.score("test")
    assert reader.missing == []
    assert scored is not None
    assert (scored.description, scored.split, scored.epoch, scored.model) == ("/photos/new", None, None, "model.onnx")
    assert (scored.num_images, scored.top5, scored.macro_f1) == (30, expected.scores.top5, expected.scores.macro_f1)
    low, high = scored.intervals["top1"] or (1, 0)
    assert low < scored.top1 < high
    assert [row.support for row in scored.per_class] == [15, 15, 0]
    assert (scored.per_class[2].recall, scored.per_class[2].recall_interval) == (None, None)
    assert sum(one.count for one in scored.calibration.bins) == 30
    assert scored.calibration.expected_calibration_error is not None
    assert scored.coverage[0].coverage == 1
    assert np.array_equal(scored.confusion.matrix(), expected.scores.confusion)  # type: ignore[union-attr]  # it is there
    worst = max(scored.images, key=lambda image: image.loss or 0)
    assert worst.index == int(expected.predictions.losses.argmax())
    assert worst.true == expected.predictions.labels[worst.index]
    assert worst.thumbnail == folder.thumbnails / f"{worst.index}.jpg"
    assert worst.why == {"worst", "cell"}


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/passwd", "pictures/../../secret.jpg", "pictures/link.jpg", "pictures/none.jpg"]
)
def test_a_thumbnail_outside_the_folder_is_gone(folder: ScoredFolder, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (folder.thumbnails / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    images = json.loads(folder.images.read_text(encoding="utf-8"))["pictures"]
    images[0]["thumbnail"] = images[1]["cam"] = name
    edit_json(folder.images, pictures=images)
    reader = Reader(folder.root)

    scored = read_scored(reader, folder)

    assert scored is not None
    assert scored.images[0].thumbnail is None
    assert scored.images[1].cam is None
    assert reader.missing == ["1 of the 6 images that pictures.json names are gone; only their names are shown"]


def test_images_of_an_earlier_epoch_are_reported(folder: ScoredFolder) -> None:
    edit_json(folder.scores, epoch=3)
    edit_json(folder.images, epoch=3)
    reader = Reader(folder.root)
    scored = read_scored(reader, folder)
    assert scored is not None
    assert scored.examples_epoch is None
    assert reader.missing == []

    edit_json(folder.images, epoch=2)
    scored = read_scored(reader, folder)
    assert scored is not None
    assert scored.examples_epoch == 2
    assert reader.missing == ["pictures.json is of epoch 3, but the scores are of epoch 4"]


def test_an_infinite_loss_is_none(folder: ScoredFolder) -> None:
    images = json.loads(folder.images.read_text(encoding="utf-8"))["pictures"]
    images[0]["loss"] = None
    edit_json(folder.images, pictures=images)

    scored = read_scored(Reader(folder.root), folder)

    assert scored is not None
    assert scored.images[0].loss is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("class 0,1,2", "cells in line 2"),
        ("class 0,1,2,x", "not whole numbers"),
        ("class 0,1,2,99999999999999999999", "not whole numbers"),
        ("class 0,1,2,-3", "negative"),
        ("class 9,1,2,3", "other classes"),
    ],
)
def test_a_confusion_matrix_that_does_not_fit_is_left_out(folder: ScoredFolder, row: str, message: str) -> None:
    header, _, *rest = folder.confusion.read_text(encoding="utf-8").splitlines()
    folder.confusion.write_text("\n".join([header, row, *rest]) + "\n", encoding="utf-8")
    reader = Reader(folder.root)

    scored = read_scored(reader, folder)

    assert scored is not None
    assert scored.confusion is None
    assert message in reader.missing[0]


@pytest.mark.parametrize("changes", [{"true": "nobody"}, {"predicted": 3}, {"why": [1]}, {"confidence": 2}])
def test_images_that_do_not_fit_are_left_out(folder: ScoredFolder, changes: dict[str, Any]) -> None:
    images = json.loads(folder.images.read_text(encoding="utf-8"))["pictures"]
    edit_json(folder.images, pictures=[images[0] | changes, *images[1:]])
    reader = Reader(folder.root)

    scored = read_scored(reader, folder)

    assert scored is not None
    assert scored.images == ()
    assert reader.missing[0].startswith("pictures.json has ") or "pictures.json names a class" in reader.missing[0]


@pytest.mark.parametrize("classes", [[], ["class 0"], ["class 1", "class 0", "class 2"], "class 0"])
def test_scores_of_other_classes_are_refused(folder: ScoredFolder, classes: Any) -> None:
    edit_json(folder.scores, classes=classes)
    reader = Reader(folder.root)

    assert read_scored(reader, folder) is None
    assert len(reader.missing) == 1


def test_the_scores_of_old_results_are_read(tmp_path: Path) -> None:
    expected = MAKER.score("test")
    values = expected.scores.to_dict(expected.classes)
    write_json(tmp_path / "scores.json", values)

    scores = read_record(tmp_path / "scores.json", SplitScores)
    scored = scores_of_results(tmp_path, scores, split="test", epoch=4)

    assert (scored.classes, scored.top1, scored.epoch) == (expected.classes, expected.scores.top1, 4)
    assert np.array_equal(scored.confusion.matrix(), expected.scores.confusion)  # type: ignore[union-attr]  # it is there
    wrong: dict[str, Any]
    for wrong in ({"confusion": [[1]]}, {"classes": [], "confusion": []}):
        write_json(tmp_path / "scores.json", values | wrong)
        with pytest.raises(DamagedFileError, match=r"not \d x \d"):
            read_record(tmp_path / "scores.json", SplitScores)


INDEX = {"cat": 0, "dog": 1}
HEADER = "file,true,predicted,confidence,loss"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_predictions_with_any_names_are_read_as_written(tmp_path: Path) -> None:
    scored = RunMaker(HOSTILE_NAMES, files=(*HOSTILE_FILES, 'a,"b', '"', "\r", ",,,,,")).score("test")
    assert scored.predictions.probabilities is not None
    write_predictions_csv(tmp_path / "p.csv", scored.predictions, scored.classes, scored.files)

    columns = read_predictions(tmp_path / "p.csv", {name: index for index, name in enumerate(scored.classes)})

    assert columns.files == tuple(map(plain_text, scored.files))
    assert np.array_equal(columns.labels, scored.predictions.labels)
    assert np.array_equal(columns.predicted, scored.predictions.predicted)
    assert np.allclose(columns.confidence, scored.predictions.confidence, rtol=1e-6)
    assert np.allclose(columns.losses, scored.predictions.losses, rtol=1e-6)


def test_further_columns_are_ignored(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.csv", f'{HEADER},probability_cat\n"a,1.jpg",cat,dog,0.5,0.25,no number\nb,dog,dog,1,inf,\n'
    )

    columns = read_predictions(path, INDEX)

    assert columns.files == ("a,1.jpg", "b")
    assert columns.labels.tolist() == [0, 1]
    assert columns.predicted.tolist() == [1, 1]
    assert columns.losses.tolist() == [0.25, math.inf]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("file,true\n", "lacks the column predicted, confidence, loss"),
        ("a,b,c,d,e\n", "lacks the column file, true"),
        (f"{HEADER}\na,cat,dog,0.5\n", "4 cells in line 2 and not 5"),
        (f"{HEADER}\na,cat,bird,0.5,1\n", "row 1 that"),
        (f"{HEADER}\na,cat,dog,x,1\n", "row 1"),
        (f'{HEADER}\n"a,cat,dog,0.5,1\nb,cat', "not a CSV table"),
        (f'{HEADER}\n"a"b,cat,dog,0.5,1\n', "not a CSV table"),
    ],
)
def test_a_file_that_is_not_such_a_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DamagedFileError, match=message):
        read_predictions(write(tmp_path / "p.csv", text), INDEX)
