from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from classifier_training.metrics.scores import Predictions, predictions_from_logits
from classifier_training.results.decision_effect import decision_effect, describe_decision
from classifier_training.results.decision_file import DecisionEffect


def sampled(num_images: int = 300) -> Predictions:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (num_images, 4)).astype(np.float32)
    return predictions_from_logits(logits, (logits + generator.gumbel(size=logits.shape)).argmax(axis=1))


def test_what_both_thresholds_hold() -> None:
    predictions = sampled()

    effect = decision_effect(predictions, 0.7, 0.2)

    assert effect is not None
    assert effect.abstention is not None
    assert effect.sets is not None
    is_answered = predictions.confidence >= np.float32(0.7)
    num_answered, num_correct = int(is_answered.sum()), int(predictions.is_correct[is_answered].sum())
    assert effect.abstention.coverage == num_answered / 300
    assert effect.abstention.precision == num_correct / num_answered
    expected = binomtest(num_correct, num_answered).proportion_ci(method="wilson")
    assert effect.abstention.precision_interval == pytest.approx((expected.low, expected.high))
    assert predictions.probabilities is not None
    sets = predictions.probabilities >= np.float32(0.2)
    assert effect.sets.mean_size == sets.sum(axis=1).mean()
    assert effect.sets.coverage == sets[np.arange(300), predictions.labels].mean()
    assert (effect.sets.empty, effect.sets.single) == ((sets.sum(axis=1) == 0).mean(), (sets.sum(axis=1) == 1).mean())
    first, second = describe_decision(effect)
    assert first.startswith("answering from a confidence of 0.7 on: coverage ")
    assert second.startswith("prediction sets hold the true class of ")
    assert decision_effect(predictions, None, None) is None


def test_a_threshold_that_nothing_reaches_has_no_precision() -> None:
    predictions = sampled()
    predictions.confidence[:] = 0.5

    effect = decision_effect(predictions, 0.9, None)

    assert effect is not None
    assert effect.abstention is not None
    assert (effect.abstention.num_answered, effect.abstention.precision) == (0, None)
    assert describe_decision(effect)[0].endswith("so there is no precision")


def test_without_the_probabilities_of_all_classes_sizes_are_not_known() -> None:
    known = sampled()
    unknown = Predictions(known.labels, known.predicted, known.confidence, known.losses)

    effect, whole = decision_effect(unknown, None, 0.2), decision_effect(known, None, 0.2)

    assert effect is not None
    assert whole is not None
    assert isinstance(effect, DecisionEffect)
    assert effect.sets is not None
    assert whole.sets is not None
    assert effect.sets.coverage == whole.sets.coverage
    assert effect.sets.mean_size is None
    assert "mean size" not in describe_decision(effect)[0]
