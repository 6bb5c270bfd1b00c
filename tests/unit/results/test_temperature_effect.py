from __future__ import annotations

import numpy as np
import pytest

from classifier_training.metrics.accumulator import ScoringPass
from classifier_training.metrics.scores import Predictions
from classifier_training.results.confidence import calibrate
from classifier_training.results.temperature_effect import describe_effect, error_interval, temperature_effect


def make_overconfident(temperature: float | None, num_images: int = 600) -> Predictions:
    """Labels are sampled from the softmax of a third of the logits."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (num_images, 4))
    labels = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    scoring = ScoringPass(4, temperature=temperature)
    scoring.update((3 * logits).astype(np.float32), labels)
    return scoring.result()[1]


def test_calibration_before_and_after() -> None:
    raw, predictions = make_overconfident(None), make_overconfident(3.0)

    effect = temperature_effect(predictions, 3.0)

    assert effect is not None
    assert effect.before is not None
    assert effect.before.error == calibrate(raw).expected_calibration_error
    assert effect.bins_before == calibrate(raw).bins
    assert effect.after.error == calibrate(predictions).expected_calibration_error
    assert effect.before.log_loss == pytest.approx(raw.losses.mean(), rel=1e-5)
    assert effect.after.interval[0] <= effect.after.error <= effect.after.interval[1] < effect.before.interval[0]
    assert describe_effect(effect).startswith("temperature 3: expected calibration error 1")
    assert temperature_effect(raw, None) is None


def test_without_the_predictions_before_only_those_after_are_known() -> None:
    effect = temperature_effect(make_overconfident(None), 3.0)

    assert effect is not None
    assert (effect.before, effect.bins_before) == (None, ())
    assert "→" not in describe_effect(effect)


def test_an_infinite_loss_is_told() -> None:
    predictions = make_overconfident(None, 10)
    predictions.losses[0] = np.inf

    effect = temperature_effect(predictions, 2.0)

    assert effect is not None
    assert effect.after.log_loss is None
    assert "log-loss infinite" in describe_effect(effect)


def test_the_interval_holds_the_error_of_all_images_of_the_kind() -> None:
    """The error of 100,000 images is in the intervals of nearly all samples of 300 of them."""
    generator = np.random.default_rng(1)
    confidence = generator.uniform(0.5, 1, 100_000).astype(np.float32)
    is_correct = generator.random(100_000) < confidence - 0.15

    def of(chosen: slice) -> Predictions:
        labels = np.zeros(len(confidence[chosen]), np.int64)
        return Predictions(labels, 1 - is_correct[chosen].astype(np.int64), confidence[chosen], confidence[chosen])

    truth = calibrate(of(slice(None))).expected_calibration_error or 0
    ends = [error_interval(of(slice(start, start + 300)), 200) for start in range(0, 12_000, 300)]

    assert truth == pytest.approx(0.15, abs=0.01)
    assert sum(low <= truth <= high for low, high in ends) >= 35
