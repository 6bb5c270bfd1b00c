from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from tests.helpers.scored import NASTY_NAMES, make_pass, make_scored

from classifier_training.errors import RunError
from classifier_training.metrics.intervals import score_intervals
from classifier_training.metrics.scores import Predictions, Scores, scores_from_confusion
from classifier_training.results.confidence import calibrate, coverage_curve
from classifier_training.results.folder import read_scores, write_scored
from classifier_training.results.scores_file import ClassRow
from classifier_training.run.folder import ScoredFolder


def write(
    folder: Path, scores: Scores, predictions: Predictions, classes: Sequence[str], **changed: Any
) -> ScoredFolder:
    write_scored(ScoredFolder(folder), make_pass(scores, predictions, classes, **changed))
    return ScoredFolder(folder)


def test_all_that_is_known_is_written(tmp_path: Path) -> None:
    scores, predictions = make_scored(60, 3)

    folder = write(tmp_path / "val", scores, predictions, "abc", left_out=("bad.jpg",), num_trained_on=2)
    found = read_scores(folder)

    assert sorted(path.name for path in folder.root.iterdir()) == [
        "confusion_matrix.csv",
        "predictions.csv",
        "probabilities.npy",
        "scores.json",
    ]
    assert (found.format, found.description, found.split, found.epoch, found.model) == (
        1,
        "the val split",
        "val",
        3,
        "a.ckpt",
    )
    assert (found.classes, found.num_images, found.num_trained_on) == (("a", "b", "c"), 60, 2)
    assert found.left_out == ("bad.jpg",)
    for name, score in scores.by_name().items():
        assert getattr(found, name) == score
    assert found.confidence_level == 0.95
    assert found.intervals == score_intervals(scores).by_name()
    assert found.calibration == calibrate(predictions)
    assert found.coverage == coverage_curve(predictions)
    for row, one in zip(found.per_class, scores.classes, strict=True):
        assert (row.precision, row.recall, row.f1, row.support) == (one.precision, one.recall, one.f1, one.support)


def test_the_file_has_the_keys_of_version_0_1(tmp_path: Path) -> None:
    scores, predictions = make_scored(60, 3)

    values = json.loads(write(tmp_path, scores, predictions, "abc").scores.read_text(encoding="utf-8"))

    assert list(values) == [
        *("format", "description", "split", "epoch", "model", "classes", "num_images", "top1", "top5"),
        *("balanced_accuracy", "macro_f1", "confidence_level", "intervals", "per_class", "calibration", "coverage"),
        *(
            "num_trained_on",
            "left_out",
            "precision",
            "content",
            "copies",
            "trained_on",
            "tta",
            "weights",
            "temperature",
            "decision",
            "unknown",
        ),
    ]
    assert list(values["per_class"][0]) == [
        *("class", "precision", "recall", "f1", "support", "precision_interval", "recall_interval")
    ]


def test_the_intervals_of_a_class_are_those_of_its_counts(tmp_path: Path) -> None:
    confusion = np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    labels, predicted = (grid.ravel().repeat(confusion.ravel()) for grid in np.indices((3, 3)))
    predictions = Predictions(labels, predicted, np.ones(10, np.float32), np.zeros(10, np.float32))

    found = read_scores(write(tmp_path, scores_from_confusion(confusion, 10), predictions, "abc")).per_class

    assert [row.name for row in found] == ["a", "b", "c"]
    expected = binomtest(3, 4).proportion_ci(method="wilson"), binomtest(3, 5).proportion_ci(method="wilson")
    assert found[0].recall_interval == pytest.approx(tuple(expected[0]))
    assert found[0].precision_interval == pytest.approx(tuple(expected[1]))
    assert found[2] == ClassRow(name="c", precision=None, recall=None, f1=None, support=0)


def test_during_a_training_there_is_no_bootstrap(tmp_path: Path) -> None:
    scores, predictions = make_scored(60, 3)
    intervals = score_intervals(scores, bootstrap=False)

    found = read_scores(write(tmp_path, scores, predictions, "abc", intervals=intervals)).intervals

    assert (found["balanced_accuracy"], found["macro_f1"]) == (None, None)
    assert found["top1"] == score_intervals(scores).top1


def test_probabilities_of_an_earlier_pass_do_not_stay(tmp_path: Path) -> None:
    scores, predictions = make_scored(60, 3)
    assert write(tmp_path, scores, predictions, "abc").probabilities.is_file()
    columns = (predictions.labels, predictions.predicted, predictions.confidence, predictions.losses)

    folder = write(tmp_path, scores, Predictions(*columns), "abc")

    assert not folder.probabilities.exists()


def test_hostile_names_and_one_image_and_an_infinite_loss(tmp_path: Path) -> None:
    number = len(NASTY_NAMES)
    confusion = np.zeros((number, number), np.int64)
    confusion[2, 5] = 1
    predictions = Predictions(np.array([2]), np.array([5]), np.zeros(1, np.float32), np.full(1, np.inf, np.float32))

    folder = write(
        tmp_path / "<script>",
        scores_from_confusion(confusion, 1),
        predictions,
        NASTY_NAMES,
        description="photos of caf\udce9",
        model="caf\udce9.onnx",
        left_out=("caf\udce9.jpg",),
    )

    found = read_scores(folder)
    assert found.classes == NASTY_NAMES
    assert found.left_out == (r"caf\udce9.jpg",)
    assert found.model == r"caf\udce9.onnx"
    assert found.top1 == 0.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no scores: it has no scores.json"),
        ("{", "is not valid JSON, perhaps half of it is lost; evaluate the model again"),
        ("[]", "evaluate the model again"),
        ('{"format": 2}', "is of format 2, and this version reads format 1"),
        ('{"format": 1, "classes": []}', "has no description; evaluate the model again"),
    ],
)
def test_damaged_scores_are_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "scores.json").write_text(content)

    with pytest.raises(RunError, match=message):
        read_scores(ScoredFolder(tmp_path))


def test_scores_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "scores.json").mkdir()
    with pytest.raises(RunError, match=r"cannot read the scores from .*scores\.json: is a directory"):
        read_scores(ScoredFolder(tmp_path))

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "scores.json").write_bytes(b'{"format": "\xff"}')
    with pytest.raises(RunError, match="is not valid JSON"):
        read_scores(ScoredFolder(tmp_path / "other"))
