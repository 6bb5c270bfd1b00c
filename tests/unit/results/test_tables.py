from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
from tests.helpers.scored import NASTY_NAMES, make_scored, write_old_predictions

from classifier_training.errors import RunError
from classifier_training.files.tables import read_rows, unescape
from classifier_training.metrics.confusion import Confusion
from classifier_training.metrics.scores import Predictions
from classifier_training.results.tables import (
    read_predictions_csv,
    write_confusion_csv,
    write_predictions_csv,
    write_probabilities,
)


def test_one_row_an_image(tmp_path: Path) -> None:
    _, predictions = make_scored(5_000, 4)
    classes, files = ["a", "b", "c, d", "e"], [f"photos/{number}.jpg" for number in range(5_000)]

    write_predictions_csv(tmp_path / "predictions.csv", predictions, classes, files)

    with (tmp_path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "true", "predicted", "confidence", "loss"]
    assert [row["file"] for row in rows] == files
    assert [row["true"] for row in rows] == [classes[label] for label in predictions.labels]
    assert [row["predicted"] for row in rows] == [classes[label] for label in predictions.predicted]
    for name, expected in (("confidence", predictions.confidence), ("loss", predictions.losses)):
        np.testing.assert_allclose([float(row[name]) for row in rows], expected, rtol=1e-6)


def test_the_probabilities_are_an_array_of_their_own(tmp_path: Path) -> None:
    _, predictions = make_scored(50, 4)

    write_probabilities(tmp_path / "probabilities.npy", predictions.probabilities)

    found = np.load(tmp_path / "probabilities.npy", allow_pickle=False)
    assert (found.dtype, found.shape) == (np.float32, (50, 4))
    np.testing.assert_array_equal(found, predictions.probabilities)
    assert [path.name for path in tmp_path.iterdir()] == ["probabilities.npy"]

    write_probabilities(tmp_path / "probabilities.npy", None)
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_version_0_1_has_the_probabilities_in_it(tmp_path: Path) -> None:
    _, predictions = make_scored(6, 3)
    files = ["a.jpg", 'b "quoted", c.jpg', "line\nbreak.jpg", "caf\\udce9.jpg", "", "e.jpg"]
    write_old_predictions(tmp_path / "predictions.csv", predictions, ["x", "y, z", "w"], files)

    rows = list(read_predictions_csv(tmp_path / "predictions.csv"))

    assert [row.file for row in rows] == [*files[:3], "caf\udce9.jpg", *files[4:]]
    assert [row.true for row in rows] == [["x", "y, z", "w"][label] for label in predictions.labels]
    assert [row.confidence for row in rows] == pytest.approx(predictions.confidence.tolist(), rel=1e-6)


def test_any_name_is_read_again(tmp_path: Path) -> None:
    _, found = make_scored(len(NASTY_NAMES), len(NASTY_NAMES))
    predictions = Predictions(found.labels, found.predicted, found.confidence, found.losses)

    write_predictions_csv(tmp_path / "predictions.csv", predictions, NASTY_NAMES, NASTY_NAMES)

    rows = list(read_predictions_csv(tmp_path / "predictions.csv"))
    assert [row.file for row in rows] == list(NASTY_NAMES)
    assert [row.true for row in rows] == [NASTY_NAMES[label] for label in found.labels]
    assert [row.predicted for row in rows] == [NASTY_NAMES[label] for label in found.predicted]
    assert [row.loss for row in rows] == pytest.approx(found.losses.tolist(), rel=1e-6)
    table = pyarrow.csv.read_csv(tmp_path / "predictions.csv")
    assert table.column_names == ["file", "true", "predicted", "confidence", "loss"]
    assert list(map(unescape, table.column("file").to_pylist())) == list(NASTY_NAMES)


def test_an_infinite_loss_and_a_name_that_is_no_text(tmp_path: Path) -> None:
    zeros = np.zeros(1, np.int64)
    predictions = Predictions(zeros, zeros, np.zeros(1, np.float32), np.full(1, np.inf, np.float32))

    write_predictions_csv(tmp_path / "predictions.csv", predictions, ["a"], ["caf\udce9.jpg"])

    (row,) = read_predictions_csv(tmp_path / "predictions.csv")
    assert math.isinf(row.loss)
    assert row.file == "caf\udce9.jpg"


def test_as_many_files_as_predictions(tmp_path: Path) -> None:
    _, predictions = make_scored(3, 2)

    with pytest.raises(ValueError, match="3 predictions, but 2 files"):
        write_predictions_csv(tmp_path / "predictions.csv", predictions, ["a", "b"], ["1", "2"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"file,label\na,b\n", "it lacks the column true, predicted, confidence, loss"),
        (b"file,true,predicted,confidence,loss\na,b,c,0.5,0.1\na,b\n", "it has 2 cells in line 3 and not 5"),
        (b"file,true,predicted,confidence,loss\na,b,c,half,0.1\n", "row 2: this is not a prediction"),
        (b"file,true,predicted,confidence,loss\n\xff,b,c,1,0\n", "not a table of predictions"),
        (None, "cannot read the predictions from .*: no such file"),
    ],
)
def test_another_table_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "predictions.csv").write_bytes(content)

    with pytest.raises(RunError, match=message):
        list(read_predictions_csv(tmp_path / "predictions.csv"))


def test_the_counts_stand_between_the_names(tmp_path: Path) -> None:
    classes = list(NASTY_NAMES)
    confusion = np.random.default_rng(0).integers(0, 2_000, (len(classes), len(classes)))

    write_confusion_csv(tmp_path / "confusion.csv", Confusion.from_matrix(confusion), classes)

    header, *rows = read_rows(tmp_path / "confusion.csv")
    assert header == [r"true \ predicted", *classes]
    assert [row[0] for row in rows] == classes
    np.testing.assert_array_equal(np.array([row[1:] for row in rows]).astype(int), confusion)
