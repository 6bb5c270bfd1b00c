from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from classifier_training.config.schema import DecisionConfig
from classifier_training.metrics.scores import Predictions, predictions_from_logits
from classifier_training.models.decision import ValidatedImages, fit_decision


def sampled(num_images: int = 200) -> Predictions:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (num_images, 4)).astype(np.float32)
    return predictions_from_logits(logits, (logits + generator.gumbel(size=logits.shape)).argmax(axis=1))


def test_both_thresholds() -> None:
    predictions = sampled()

    decision, reasons = fit_decision(
        ValidatedImages.of(predictions), DecisionConfig(target_precision=0.9, set_coverage=0.8)
    )

    assert reasons == ()
    assert decision is not None
    assert (decision.num_images, decision.target_precision, decision.target_coverage) == (200, 0.9, None)
    assert predictions.probabilities is not None
    abstain, sets = decision.decide(predictions.probabilities)
    assert predictions.is_correct[~abstain].mean() >= 0.9 > predictions.is_correct.mean()
    assert sets is not None
    assert sets[np.arange(200), predictions.labels].mean() == pytest.approx(0.8, abs=0.01)
    assert decision.set_interval is not None
    assert decision.set_interval[0] < 0.8 < decision.set_interval[1]


def test_a_target_coverage() -> None:
    predictions = sampled()

    decision, _ = fit_decision(ValidatedImages.of(predictions), DecisionConfig(target_coverage=0.6, set_coverage=None))

    assert decision is not None
    assert predictions.probabilities is not None
    assert 1 - decision.decide(predictions.probabilities).abstain.mean() == pytest.approx(0.6, abs=0.005)
    assert (decision.set_threshold, decision.set_coverage, decision.set_interval) == (None, None, None)


def test_a_target_out_of_reach_is_named_and_the_sets_are_fitted_all_the_same() -> None:
    predictions = sampled()
    predictions.predicted[:] = 3 - predictions.labels

    decision, reasons = fit_decision(ValidatedImages.of(predictions), DecisionConfig(target_precision=0.9))

    assert len(reasons) == 1
    assert reasons[0].startswith("the target precision 0.9 cannot be reached on the 200 validation images: the highest")
    assert decision is not None
    assert (decision.abstain_threshold, decision.target_precision) == (None, None)
    assert decision.set_threshold is not None


@pytest.mark.parametrize(
    ("num_images", "targets", "reason"),
    [
        (9, {"target_coverage": 0.9}, "9 validation images are too few for a threshold, 10 are needed"),
        (12, {}, "prediction sets for a coverage of 0.95 need 19 validation images, there are 12"),
    ],
)
def test_too_few_images_are_named(num_images: int, targets: dict[str, float], reason: str) -> None:
    decision, reasons = fit_decision(ValidatedImages.of(sampled(num_images)), DecisionConfig(**targets))

    assert decision is None
    assert reasons[0].startswith(reason)


def test_nothing_is_said_where_nothing_was_asked_for() -> None:
    assert fit_decision(ValidatedImages.of(sampled(9)), DecisionConfig()) == (None, ())


def test_what_is_kept_comes_back() -> None:
    images = ValidatedImages.of(sampled())

    again = ValidatedImages.from_tensors(images.to_tensors())

    for name in ("confidence", "is_correct", "true_probability"):
        np.testing.assert_array_equal(getattr(again, name), getattr(images, name))


def test_without_the_probabilities_of_all_classes_the_losses_tell_those_of_the_true_ones() -> None:
    known = sampled()
    unknown = Predictions(known.labels, known.predicted, known.confidence, known.losses)

    np.testing.assert_allclose(
        ValidatedImages.of(unknown).true_probability, ValidatedImages.of(known).true_probability, rtol=1e-5
    )


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"confidence": torch.zeros(3), "is_correct": torch.zeros(3), "true_probability": torch.zeros(3)},
        {
            "confidence": torch.zeros(3),
            "is_correct": torch.zeros(2, dtype=torch.bool),
            "true_probability": torch.zeros(3),
        },
    ],
)
def test_what_is_damaged_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="validation_images"):
        ValidatedImages.from_tensors(values)
