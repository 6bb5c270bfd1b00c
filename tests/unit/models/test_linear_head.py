from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import classifier_training.models.linear_head as module
from classifier_training.errors import ModelError
from classifier_training.models.linear_head import (
    DEFAULT_STRENGTH,
    CurvePoint,
    HeadProblem,
    choose_strength,
    fit_linear_head,
    held_out_folds,
)

NUM_IMAGES, NUM_FEATURES, NUM_CLASSES = 90, 12, 3


def make_problem(seed: int = 0, **options: Any) -> HeadProblem:
    """Overlapping classes; features of different size, one of them constant."""
    random = np.random.default_rng(seed)
    labels = np.arange(NUM_IMAGES) % NUM_CLASSES
    centres = random.normal(size=(NUM_CLASSES, NUM_FEATURES))
    features = (random.normal(size=(NUM_IMAGES, NUM_FEATURES)) * 2 + centres[labels]) * 10.0 ** (np.arange(12) % 4)
    features[:, 5] = 3
    return HeadProblem(features.astype(np.float32), labels.astype(np.int64), NUM_CLASSES, **options)


def folds_of(count: int = 5) -> NDArray[np.int64]:
    return (np.arange(NUM_IMAGES) // NUM_CLASSES % count).astype(np.int64)


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("strength", [0.01, 1.0])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_it_is_the_logistic_regression_of_scikit_learn(strength: float, is_weighted: bool) -> None:
    weights = np.random.default_rng(1).uniform(0.2, 2, NUM_IMAGES) if is_weighted else None
    problem = make_problem(weights=weights, folds=folds_of())
    head = fit_linear_head(problem, strengths=[strength])
    weights = None if weights is None else weights / weights.mean()
    features = problem.features.astype(np.float64)
    scaler = StandardScaler().fit(features, sample_weight=weights)
    reference = LogisticRegression(C=strength, tol=1e-9, max_iter=5000)
    reference.fit(scaler.transform(features), problem.labels, sample_weight=weights)
    expected = reference.predict_proba(scaler.transform(features))
    np.testing.assert_allclose(softmax(head.logits(problem.features)), expected, atol=1e-4)


def test_the_strength_is_that_of_least_log_loss_out_of_fold() -> None:
    problem = make_problem(folds=folds_of())
    head = fit_linear_head(problem)
    scaled = StandardScaler().fit_transform(problem.features.astype(np.float64))
    for point in head.curve:
        losses = []
        for fold in range(5):
            held_out = folds_of() == fold
            reference = LogisticRegression(C=point.strength, tol=1e-9, max_iter=5000)
            reference.fit(scaled[~held_out], problem.labels[~held_out])
            found = reference.predict_log_proba(scaled[held_out])
            losses += (-found[np.arange(held_out.sum()), problem.labels[held_out]]).tolist()
        assert point.log_loss == pytest.approx(np.mean(losses), abs=2e-3)
        assert point.standard_error == pytest.approx(np.std(losses) / NUM_IMAGES**0.5, abs=2e-3)
    best = min(head.curve, key=lambda point: point.log_loss)
    assert head.curve[-1].strength > best.strength > head.curve[0].strength
    assert head.strength == choose_strength(head.curve)
    assert head.num_held_out == NUM_IMAGES


def test_blocks_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit_linear_head(make_problem(folds=folds_of()))
    monkeypatch.setattr(module, "_BLOCK_BYTES", 8 * 18 * 40)
    monkeypatch.setattr(module, "_room", lambda _: 0)
    blocked = fit_linear_head(make_problem(folds=folds_of()))
    assert blocked.strength == whole.strength
    np.testing.assert_allclose(blocked.weight, whole.weight, rtol=1e-3, atol=1e-6)
    monkeypatch.setattr(module, "_DOUBLE_ELEMENTS", 0)  # float32
    single = fit_linear_head(make_problem(folds=folds_of()))
    problem = make_problem()
    np.testing.assert_allclose(
        softmax(single.logits(problem.features)), softmax(whole.logits(problem.features)), atol=2e-3
    )


def test_it_is_the_same_to_the_bit_each_time() -> None:
    one, other = (fit_linear_head(make_problem(folds=folds_of())) for _ in range(2))
    assert one.curve == other.curve
    np.testing.assert_array_equal(one.weight, other.weight)
    np.testing.assert_array_equal(one.bias, other.bias)


def test_views_of_an_image_count_as_one_image() -> None:
    problem = make_problem(folds=folds_of())
    twice = HeadProblem(
        np.concatenate([problem.features] * 2), np.concatenate([problem.labels] * 2), NUM_CLASSES,
        folds=np.concatenate([folds_of()] * 2), num_images=NUM_IMAGES,
    )  # fmt: skip
    once, doubled = fit_linear_head(problem), fit_linear_head(twice)
    assert doubled.strength == once.strength
    np.testing.assert_allclose(doubled.weight, once.weight, rtol=1e-3, atol=1e-6)


def test_logit_adjustment_lets_the_prior_out_of_the_head() -> None:
    problem = make_problem()
    labels = np.where(np.arange(NUM_IMAGES) % 10 == 0, problem.labels, 0).astype(np.int64)
    prior = np.bincount(labels, minlength=NUM_CLASSES) / NUM_IMAGES
    plain = fit_linear_head(HeadProblem(problem.features, labels, NUM_CLASSES))
    adjusted = fit_linear_head(
        HeadProblem(problem.features, labels, NUM_CLASSES, offset=np.log(prior).astype(np.float32))
    )
    assert np.ptp(plain.bias) > np.ptp(adjusted.bias)
    restored = adjusted.bias + np.log(prior)
    np.testing.assert_allclose(restored - restored.mean(), plain.bias - plain.bias.mean(), atol=1e-3)


@pytest.mark.parametrize("folds", [None, np.full(NUM_IMAGES, -1), np.where(np.arange(NUM_IMAGES) < 9, 0, -1)])
def test_where_nothing_can_be_held_out_the_strength_is_fixed(folds: NDArray[np.int64] | None) -> None:
    head = fit_linear_head(make_problem(folds=folds))
    assert (head.strength, head.curve, head.num_held_out) == (DEFAULT_STRENGTH, (), 0)


def test_an_image_of_fold_minus_one_is_never_held_out() -> None:
    folds = np.where(np.arange(NUM_IMAGES) < 30, -1, folds_of())
    assert fit_linear_head(make_problem(folds=folds)).num_held_out == 60


def test_a_class_that_is_in_one_fold_alone_is_never_held_out() -> None:
    labels, folds = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 0, -1, 1])
    assert held_out_folds(labels, folds).tolist() == [0, 1, -1, -1, -1, -1]


def test_of_many_images_some_choose_the_strength_and_all_are_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make_problem(folds=folds_of())
    monkeypatch.setattr(module, "_MOST_SEARCHED", problem.features.size * NUM_CLASSES // 2)
    head = fit_linear_head(problem)
    assert head.num_held_out == NUM_IMAGES // 2
    whole = fit_linear_head(make_problem(folds=folds_of()), strengths=[head.strength])
    np.testing.assert_array_equal(head.weight, whole.weight)


@pytest.mark.parametrize(("standard_error", "strength"), [(0.05, 1.0), (0.15, 0.1), (0.0, 1.0)])
def test_a_stronger_penalty_is_taken_within_a_standard_error(standard_error: float, strength: float) -> None:
    losses = {0.01: 0.9, 0.1: 0.6, 1.0: 0.5, 10.0: 0.52}
    curve = [CurvePoint(one, loss, 0.5, standard_error) for one, loss in losses.items()]
    assert choose_strength(curve) == strength


def test_nothing_to_fit_is_an_error() -> None:
    with pytest.raises(ModelError, match="no image with a weight above 0"):
        fit_linear_head(make_problem(weights=np.zeros(NUM_IMAGES)))


def test_a_stop_ends_the_fit() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_linear_head(make_problem(folds=folds_of()), check_stop=stop)


def test_its_weights_fill_a_linear_layer() -> None:
    problem = make_problem(folds=folds_of())
    head = fit_linear_head(problem)
    layer = torch.nn.Linear(NUM_FEATURES, NUM_CLASSES)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight))
        layer.bias.copy_(torch.from_numpy(head.bias))
        logits = layer(torch.from_numpy(problem.features))
    np.testing.assert_allclose(logits.numpy(), head.logits(problem.features), rtol=1e-4, atol=1e-4)
    assert (logits.argmax(dim=1).numpy() == problem.labels).mean() > 0.7
