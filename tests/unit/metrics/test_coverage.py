from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from classifier_training.metrics.coverage import coverage_curve
from classifier_training.metrics.scores import Predictions


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
