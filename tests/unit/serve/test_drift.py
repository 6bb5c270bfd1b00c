from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from scipy.special import rel_entr

from classifier_training.inference.card import DeploymentCard
from classifier_training.serve.drift import WINDOW, Drift, population_stability_index
from classifier_training.serve.model import ModelAnswer
from classifier_training.types import Preprocessing

CLASSES = ("a", "b", "c")


def values_of(drift: Drift, counts: CollectorRegistry) -> dict[str, float]:
    families = drift.compared(counts).collect()
    return {sample.name: sample.value for family in families for sample in family.samples}


def counted(labels: str, validation: dict[str, int] | None) -> dict[str, float]:
    counts = CollectorRegistry()
    card = DeploymentCard(CLASSES, Preprocessing(), validation=validation and {"predicted": validation})
    drift = Drift(card, counts)
    for label in labels:
        drift.count(ModelAnswer(label, 1.0, CLASSES.index(label), (1.0, 0.0, 0.0)))
    return values_of(drift, counts)


def test_the_index_is_the_divergence_of_jeffreys() -> None:
    random = np.random.default_rng(0)
    expected, found = random.integers(0, 100, 20), random.integers(0, 50, 20)
    p, q = (expected + 0.5) / (expected + 0.5).sum(), (found + 0.5) / (found + 0.5).sum()

    assert population_stability_index(expected, found) == pytest.approx((rel_entr(p, q) + rel_entr(q, p)).sum())


def test_equal_shares_do_not_drift() -> None:
    assert population_stability_index([100, 300], [100, 300]) == 0
    assert population_stability_index([100_000, 300_000], [1000, 3000]) < 1e-6
    assert population_stability_index([100, 0], [0, 100]) > 5  # an empty cell is no infinity


def test_answers_are_compared_with_those_on_validation() -> None:
    alike = counted("aab" * 40, {"a": 200, "b": 100, "c": 0})
    other = counted("ccb" * 40, {"a": 200, "b": 100, "c": 0})

    assert alike["classifier_recent_images"] == 120
    assert alike["classifier_drift_psi"] < 0.01 < alike["classifier_drift_psi_by_chance"]
    assert other["classifier_drift_psi"] > 1


def test_only_late_answers_count() -> None:
    found = counted("c" * WINDOW + "aab" * (WINDOW // 3 + 1), {"a": 200, "b": 100, "c": 0})

    assert found["classifier_recent_images"] == WINDOW
    assert found["classifier_drift_psi"] < 0.01


def test_nothing_is_compared_without_figures_or_answers() -> None:
    assert counted("abc", None) == {"classifier_recent_images": 3}
    assert counted("", {"a": 1, "b": 1, "c": 1}) == {"classifier_recent_images": 0}
