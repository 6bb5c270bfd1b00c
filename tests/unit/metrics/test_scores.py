from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)
from tests.helpers.confusion import confusion_and_top5

from classifier_training.errors import DataError
from classifier_training.metrics.scores import Scores, scores_from_confusion


def score(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Scores:
    return scores_from_confusion(*confusion_and_top5(logits, labels))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_classes", [2, 4, 7, 20])
def test_equals_scikit_learn(seed: int, num_classes: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(60, num_classes)).astype(np.float32)
    # Some classes have no image, and with 20 classes some are never predicted.
    labels = rng.integers(0, max(2, num_classes - 2), 60)
    logits[np.arange(60), labels] += rng.random(60).astype(np.float32) * 2
    predictions = logits.argmax(axis=1)
    every_class = np.arange(num_classes)

    scores = score(logits, labels)

    np.testing.assert_array_equal(scores.confusion, confusion_matrix(labels, predictions, labels=every_class))
    assert scores.num_images == 60
    assert scores.top1 == float((predictions == labels).mean())
    assert scores.macro_f1 == pytest.approx(f1_score(labels, predictions, average="macro"), abs=1e-12)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        assert scores.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predictions), abs=1e-12)
    if num_classes > 5:
        assert scores.top5 == top_k_accuracy_score(labels, logits, k=5, labels=every_class)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions, labels=every_class, zero_division=np.nan
    )
    for index, one in enumerate(scores.classes):
        assert one.support == support[index]
        assert (one.precision is None) == bool(np.isnan(precision[index]))
        assert (one.recall is None) == bool(np.isnan(recall[index]))
        assert (one.f1 is None) == bool(np.isnan(f1[index]))
        assert one.precision is None or one.precision == pytest.approx(precision[index])
        assert one.f1 is None or one.f1 == pytest.approx(f1[index])


def test_top5_of_few_classes_is_always_right() -> None:
    assert score(np.eye(3, dtype=np.float32), np.array([2, 0, 1])).top5 == 1.0


def test_equal_logits_are_not_counted_as_right() -> None:
    logits = np.zeros((8, 8), np.float32)

    scores = score(logits, np.arange(8))

    assert scores.top1 == 1 / 8
    assert scores.top5 == 5 / 8


def test_nan_ranks_last() -> None:
    logits = np.full((6, 6), np.nan, np.float32)
    logits[0, 3] = 1.0

    confusion, num_top5 = confusion_and_top5(logits, np.array([3, 5, 5, 5, 5, 5]))

    assert confusion[3, 3] == 1
    assert num_top5 == 1


def test_counts_of_batches_add_up_to_those_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 7)).astype(np.float32), rng.integers(0, 7, 50)
    parts = [confusion_and_top5(logits[rows], labels[rows]) for rows in np.split(np.arange(50), [1, 9, 30])]

    confusion = np.sum([part[0] for part in parts], axis=0)
    total = scores_from_confusion(confusion, sum(part[1] for part in parts))

    assert total.to_dict("abcdefg") == score(logits, labels).to_dict("abcdefg")


def test_half_precision_and_torch_counts_give_the_identical_number() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 6, generator=generator)
    labels = torch.randint(0, 6, (40,), generator=generator)
    confusion = torch.zeros(6, 6, dtype=torch.int64)
    confusion.index_put_((labels, logits.argmax(1)), torch.ones((), dtype=torch.int64), accumulate=True)

    from_torch = scores_from_confusion(confusion.numpy(), 0)

    assert from_torch.top1 == score(logits.numpy(), labels.numpy()).top1


def test_the_dictionary_is_json_with_null_where_undefined() -> None:
    logits = np.array([[1, 0, 0], [1, 0, 0]], np.float32)

    values = json.loads(json.dumps(score(logits, np.array([0, 1])).to_dict(["00", "", "ü"]), allow_nan=False))

    assert values["top1"] == 0.5
    assert values["classes"] == [
        {"class": "00", "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1},
        {"class": "", "precision": None, "recall": 0.0, "f1": 0.0, "support": 1},
        {"class": "ü", "precision": None, "recall": None, "f1": None, "support": 0},
    ]
    assert values["confusion"] == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="no image"):
        scores_from_confusion(np.zeros((3, 3), np.int64), 0)
    with pytest.raises(ValueError, match=r"logits must be \(N, K\)"):
        confusion_and_top5(np.zeros((3, 3), np.float32), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match=r"labels must be in \[0, 3\); got -1 to 2"):
        confusion_and_top5(np.zeros((2, 3), np.float32), np.array([-1, 2]))
    with pytest.raises(ValueError, match="zip"):
        score(np.eye(3, dtype=np.float32), np.arange(3)).to_dict(["a", "b"])
