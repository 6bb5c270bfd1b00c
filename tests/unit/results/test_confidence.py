from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve

from classifier_training.metrics.scores import Predictions
from classifier_training.results.confidence import calibrate, coverage_curve


def make_predictions(confidence: NDArray[np.float32], is_correct: NDArray[np.bool_]) -> Predictions:
    labels = np.zeros(len(confidence), np.int64)
    return Predictions(labels, np.where(is_correct, 0, 1), confidence, np.zeros(len(confidence), np.float32))


def test_one_bin_by_hand() -> None:
    found = calibrate(make_predictions(np.array([0.9, 0.8, 0.1], np.float32), np.array([True, False, False])), 2)

    low, high = found.bins
    assert (low.low, low.high, low.count, low.accuracy) == (0.0, 0.5, 1, 0.0)
    assert (high.low, high.high, high.count, high.accuracy) == (0.5, 1.0, 2, 0.5)
    assert high.confidence == pytest.approx(0.85)
    assert found.expected_calibration_error == pytest.approx((1 * 0.1 + 2 * 0.35) / 3)


@pytest.mark.parametrize("seed", range(3))
def test_bins_are_those_of_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    confidence = generator.random(400).astype(np.float32)
    is_correct = generator.random(400) < confidence**2

    found = calibrate(make_predictions(confidence, is_correct))

    accuracy, mean_confidence = calibration_curve(is_correct, confidence, n_bins=15)
    filled = [one for one in found.bins if one.count]
    assert [one.accuracy for one in filled] == pytest.approx(accuracy)
    assert [one.confidence for one in filled] == pytest.approx(mean_confidence)
    by_hand = sum(
        abs(is_correct[inside].mean() - confidence[inside].mean()) * inside.sum() / 400
        for one in found.bins
        if (inside := (confidence > one.low) & (confidence <= one.high)).any()
    )
    assert found.expected_calibration_error == pytest.approx(by_hand)


def test_edges_belong_to_the_bin_below_and_empty_bins_have_no_values() -> None:
    confidence = np.array([0.0, 0.25, 0.5, 1.0, np.nan], np.float32)

    found = calibrate(make_predictions(confidence, np.ones(5, bool)), 4)

    assert [one.count for one in found.bins] == [3, 1, 0, 1]
    assert (found.bins[2].confidence, found.bins[2].accuracy) == (None, None)


def test_plain_values() -> None:
    values = asdict(calibrate(make_predictions(np.array([0.7], np.float32), np.array([True]))))

    found = json.loads(json.dumps(values, allow_nan=False))
    assert found["expected_calibration_error"] == pytest.approx(0.3)
    assert len(found["bins"]) == 15
    assert found["bins"][10] == {
        "low": pytest.approx(10 / 15),
        "high": pytest.approx(11 / 15),
        "count": 1,
        "confidence": pytest.approx(0.7),
        "accuracy": 1.0,
    }


@pytest.mark.parametrize("num_images", [1, 3, 250])
def test_equals_counting(num_images: int) -> None:
    generator = np.random.default_rng(num_images)
    confidence = generator.random(num_images).astype(np.float32)
    labels, predicted = generator.integers(0, 3, num_images), generator.integers(0, 3, num_images)
    zeros = np.zeros(num_images, np.float32)

    points = coverage_curve(Predictions(labels, predicted, confidence, zeros))

    assert [point.threshold for point in points] == [step / 100 for step in range(101)]
    for point in points:
        answered = confidence >= np.float32(point.threshold)
        assert point.coverage == answered.mean()
        expected = (labels == predicted)[answered].mean() if answered.any() else None
        assert point.accuracy == (None if expected is None else pytest.approx(expected))


def test_a_confidence_at_a_threshold_reaches_it() -> None:
    confidence = np.array([0.1, 0.7, 0.9, 1.0, np.nan], np.float32)
    zeros = np.zeros(5, np.int64)

    points = coverage_curve(Predictions(zeros, zeros, confidence, confidence), 10)

    assert [round(point.coverage * 5) for point in points] == [5, 4, 3, 3, 3, 3, 3, 3, 2, 2, 1]
    values = [asdict(point) for point in points]
    assert json.loads(json.dumps(values, allow_nan=False)) == values
