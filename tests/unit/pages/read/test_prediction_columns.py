from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.run_folders import HOSTILE_FILES, HOSTILE_NAMES, RunMaker

from classifier_training.files.text import plain_text
from classifier_training.pages.read.prediction_columns import read_predictions
from classifier_training.results.predictions_csv import write_predictions_csv
from classifier_training.run.records import DamagedFileError

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
