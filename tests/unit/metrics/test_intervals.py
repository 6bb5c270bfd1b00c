from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, f1_score

from classifier_training.metrics.intervals import bootstrap_intervals, score_intervals, wilson_intervals
from classifier_training.metrics.scores import scores_from_confusion


@pytest.mark.parametrize("total", [1, 2, 7, 100, 50_000])
def test_wilson_intervals_are_those_of_scipy(total: int) -> None:
    hits = np.unique(np.linspace(0, total, 9).astype(int))

    found = wilson_intervals(hits, np.full(len(hits), total))

    for ends, num_hits in zip(found, hits.tolist(), strict=True):
        expected = binomtest(num_hits, total).proportion_ci(0.95, method="wilson")
        assert ends == pytest.approx([expected.low, expected.high], abs=1e-12)


def test_nothing_counted_has_no_interval_and_a_share_stays_within_0_and_1() -> None:
    found = wilson_intervals(np.array([0, 0, 5]), np.array([0, 5, 5]))

    assert np.isnan(found[0]).all()
    assert found[1, 0] == 0.0
    assert found[2, 1] == 1.0
    assert 0 < found[1, 1] < 1
    assert 0 < found[2, 0] < 1


def resample_images(confusion: NDArray[np.int64], num_resamples: int) -> tuple[list[float], list[float]]:
    """By drawing images one by one, scored by scikit-learn."""
    rows, columns = np.nonzero(confusion)
    labels, predicted = (np.repeat(part, confusion[rows, columns]) for part in (rows, columns))
    generator = np.random.default_rng(5)
    scores: tuple[list[float], list[float]] = [], []
    for _ in range(num_resamples):
        sampled = generator.integers(0, len(labels), len(labels))
        scores[0].append(balanced_accuracy_score(labels[sampled], predicted[sampled]))
        scores[1].append(f1_score(labels[sampled], predicted[sampled], average="macro"))
    return scores


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_bootstrap_intervals_are_those_of_resampled_images() -> None:
    confusion = np.array([[40, 5, 3, 0], [2, 9, 1, 0], [6, 0, 20, 1], [0, 0, 0, 0]])

    found = bootstrap_intervals(confusion, 4_000)

    for interval, scores in zip(found, resample_images(confusion, 500), strict=True):
        assert interval == pytest.approx(np.quantile(scores, [0.025, 0.975]), abs=0.025)


def test_the_same_matrix_has_the_same_intervals() -> None:
    confusion = np.random.default_rng(0).integers(0, 9, (5, 5))

    assert bootstrap_intervals(confusion) == bootstrap_intervals(confusion)
    assert bootstrap_intervals(confusion) != bootstrap_intervals(confusion, seed=1)


def test_the_number_of_sets_sampled_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    confusion = np.random.default_rng(0).integers(0, 9, (5, 5))
    at_once = bootstrap_intervals(confusion)
    monkeypatch.setattr("classifier_training.metrics.intervals._MAX_VALUES", 700)  # several sets of about 80 images

    one_by_one = bootstrap_intervals(confusion)

    assert np.allclose(at_once, one_by_one, atol=0.02)


@pytest.mark.parametrize(
    ("confusion", "expected"),
    [([[1, 0], [0, 0]], ((1.0, 1.0), (1.0, 1.0))), ([[0, 1], [0, 0]], ((0.0, 0.0), (0.0, 0.0)))],
)
def test_one_image(confusion: list[list[int]], expected: object) -> None:
    assert bootstrap_intervals(np.array(confusion)) == expected


def test_many_classes_take_little_memory() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 1_000, 50_000)
    predicted = np.where(generator.random(50_000) < 0.7, labels, generator.integers(0, 1_000, 50_000))
    confusion = np.bincount(labels * 1_000 + predicted, minlength=1_000_000).reshape(1_000, 1_000)

    tracemalloc.start()
    balanced_accuracy, macro_f1 = bootstrap_intervals(confusion, 50)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 100e6
    for low, high in (balanced_accuracy, macro_f1):
        assert 0.68 < low < high < 0.72


def test_the_intervals_of_scores() -> None:
    scores = scores_from_confusion(np.array([[3, 1], [2, 4]]), 10)

    found = score_intervals(scores)
    values = json.loads(json.dumps(found.to_dict()))

    assert values["top1"] == pytest.approx(list(binomtest(7, 10).proportion_ci(method="wilson")))
    assert values["top5"][1] == 1.0
    for name in ("top1", "balanced_accuracy", "macro_f1"):
        low, high = values[name]
        assert 0 <= low < getattr(scores, name) < high <= 1
    assert score_intervals(scores, bootstrap=False).to_dict() == {
        "top1": values["top1"],
        "top5": values["top5"],
        "balanced_accuracy": None,
        "macro_f1": None,
    }
