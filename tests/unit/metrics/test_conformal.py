"""Prediction sets against MAPIE's, and what is promised of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier  # type: ignore[import-untyped] # it has no types
from mapie.conformity_scores import (  # type: ignore[import-untyped] # it has no types
    LACConformityScore,
    RAPSConformityScore,
)
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import beta
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedShuffleSplit

from classifier_training.metrics.conformal import (
    conformal_rank,
    coverage_interval,
    fewest_images,
    lac_sets,
    lac_threshold,
    raps_scores,
    raps_sets,
    raps_threshold,
)

Sampled = tuple[NDArray[np.float64], NDArray[np.int64]]


class Probabilities(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A fitted classifier whose features are the probabilities."""

    def __init__(self, num_classes: int = 6) -> None:
        self.num_classes = num_classes
        self.classes_ = np.arange(num_classes)
        self.is_fitted_ = True

    def fit(self, _features: Any, _labels: Any) -> Probabilities:
        return self

    def predict_proba(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        return features

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.asarray(features.argmax(axis=1), np.int64)


class NothingRandom(np.random.RandomState):
    """MAPIE's RAPS subtracts a random part of a probability; here it is none of it."""

    def uniform(self, *_: Any, size: Any = None, **__: Any) -> Any:
        return np.zeros(size)


def sampled(num_images: int, seed: int) -> Sampled:
    """Probabilities, and labels sampled from others, which are sharper."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (num_images, 6))
    labels = (1.4 * logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    return softmax(logits, axis=1).astype(np.float32).astype(np.float64), labels


def of_truth(images: Sampled) -> NDArray[np.float64]:
    return images[0][np.arange(len(images[1])), images[1]]


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.97])
@pytest.mark.parametrize("num_images", [150, 333])
def test_lac_sets_are_those_of_mapie(coverage: float, num_images: int) -> None:
    fitted_on, images = sampled(num_images, 0), sampled(500, 1)
    reference = SplitConformalClassifier(
        Probabilities(), confidence_level=coverage, conformity_score=LACConformityScore(), prefit=True
    )
    expected = reference.conformalize(*fitted_on).predict_set(images[0])[1][:, :, 0]

    threshold = lac_threshold(of_truth(fitted_on), coverage)

    assert threshold is not None
    assert (lac_sets(images[0], threshold) == expected).all()


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_raps_sets_are_those_of_mapie_without_its_randomness(coverage: float) -> None:
    fitted_on, images = sampled(400, 0), sampled(500, 1)
    score = RAPSConformityScore()
    reference = SplitConformalClassifier(
        Probabilities(), confidence_level=coverage, conformity_score=score, prefit=True, random_state=NothingRandom(3)
    )
    reference.conformalize(*fitted_on)
    expected = reference.predict_set(images[0], conformity_score_params={"include_last_label": False})[1][:, :, 0]
    # MAPIE chooses both parameters on a part of the images, and calibrates on the others
    split = StratifiedShuffleSplit(n_splits=1, test_size=len(score.X_raps), random_state=NothingRandom(3))
    kept, others = next(split.split(*fitted_on))
    assert (fitted_on[0][others] == score.X_raps).all()
    weight, num_free = float(score.lambda_star), int(score.k_star[0])

    scores = raps_scores(fitted_on[0][kept], None, weight, num_free)
    threshold = raps_threshold(scores, fitted_on[1][kept], coverage)

    assert threshold is not None
    found = raps_sets(raps_scores(images[0], None, weight, num_free), threshold, images[0].argmax(axis=1))
    assert threshold == pytest.approx(score.quantiles_[0], rel=1e-12)
    assert (found == expected).all()
    assert weight > 0


def test_the_score_of_raps_by_its_formula() -> None:
    scores = raps_scores(np.array([[0.2, 0.5, 0.3]]), weight=0.1, num_free=1)

    np.testing.assert_allclose(scores, [[1.0 + 0.2, 0.5, 0.8 + 0.1]])
    assert raps_sets(scores, 0.95, np.array([1])).tolist() == [[False, True, True]]
    assert raps_sets(scores, 0.3, np.array([1])).tolist() == [[False, True, False]]  # never empty
    halved = raps_scores(np.array([[0.2, 0.5, 0.3]]), np.array([0.5]), weight=0.1, num_free=1)
    np.testing.assert_allclose(scores - halved, [[0.1, 0.25, 0.15]])


def test_raps_sets_hold_the_true_class_as_often_as_stated() -> None:
    generator = np.random.default_rng(0)
    fitted_on, images = sampled(4_000, 0), sampled(4_000, 1)
    threshold = raps_threshold(raps_scores(fitted_on[0], generator.random(4_000)), fitted_on[1], 0.9)
    assert threshold is not None

    sets = raps_sets(raps_scores(images[0], generator.random(4_000)), threshold, images[0].argmax(axis=1))

    assert sets[np.arange(4_000), images[1]].mean() == pytest.approx(0.9, abs=0.015)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_hold_the_true_class_as_often_as_stated(coverage: float) -> None:
    """Over many calibrations, the mean coverage is the stated one, and the interval holds 95 % of them."""
    num_images, population = 200, sampled(20_000, 5)
    generator = np.random.default_rng(0)
    low, high = coverage_interval(num_images, coverage)
    probabilities = of_truth(population)
    found = []
    for _ in range(400):
        threshold = lac_threshold(generator.choice(probabilities, num_images), coverage)
        assert threshold is not None
        found.append((probabilities >= threshold).mean())

    assert np.mean(found) == pytest.approx(coverage, abs=0.006)
    assert np.mean([(low <= one <= high) for one in found]) == pytest.approx(0.95, abs=0.03)


def test_the_interval_is_that_of_the_beta_distribution() -> None:
    assert coverage_interval(500, 0.9) == pytest.approx(beta(451, 50).ppf([0.025, 0.975]))


@pytest.mark.parametrize(("coverage", "fewest"), [(0.9, 9), (0.95, 19), (0.99, 99), (0.5, 1)])
def test_too_few_images_allow_no_set(coverage: float, fewest: int) -> None:
    assert fewest_images(coverage) == fewest
    assert conformal_rank(fewest, coverage) == fewest
    assert conformal_rank(fewest - 1, coverage) is None
    assert lac_threshold(np.full(fewest - 1, 0.5, np.float32), coverage) is None
    assert lac_threshold(np.full(fewest, 0.5, np.float32), coverage) == 0.5
