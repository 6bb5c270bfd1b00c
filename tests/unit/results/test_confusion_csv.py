from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.helpers.scored import NASTY_NAMES

from classifier_training.files.tables import read_rows
from classifier_training.results.confusion_csv import write_confusion_csv


def test_the_counts_stand_between_the_names(tmp_path: Path) -> None:
    classes = list(NASTY_NAMES)
    confusion = np.random.default_rng(0).integers(0, 2_000, (len(classes), len(classes)))

    write_confusion_csv(tmp_path / "confusion.csv", confusion, classes)

    header, *rows = read_rows(tmp_path / "confusion.csv")
    assert header == [r"true \ predicted", *classes]
    assert [row[0] for row in rows] == classes
    np.testing.assert_array_equal(np.array([row[1:] for row in rows]).astype(int), confusion)
