from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from scipy.special import rel_entr

from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.decision import Decision
from classifier_training.inference.unknown import UnknownCard
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


def test_unknown_scores_are_compared_by_tenths() -> None:
    quantiles = tuple(float(number) for number in range(1, 10))
    unknown = UnknownCard(kind="energy", threshold=9.5, known_share=0.95, num_images=200, quantiles=quantiles)
    card = DeploymentCard(CLASSES, Preprocessing(), unknown=unknown)

    def found(scores: Sequence[float]) -> dict[tuple[str, str], float]:
        counts = CollectorRegistry()
        drift = Drift(card, counts)
        for score in scores:
            drift.count(ModelAnswer("a", 1.0, 0, (1.0, 0.0, 0.0), unknown_score=score, unknown=score > 9.5))
        families = [*counts.collect(), *drift.compared(counts).collect()]
        return {
            (sample.name, next(iter(sample.labels.values()), "")): sample.value
            for family in families
            for sample in family.samples
        }

    alike, other = found([0.5 + number % 10 for number in range(500)]), found([9.6] * 500)
    assert alike["classifier_drift_psi", "unknown_score"] == pytest.approx(0, abs=1e-3)
    assert other["classifier_drift_psi", "unknown_score"] > 1
    assert (alike["classifier_unknown_total", ""], other["classifier_unknown_total", ""]) == (0, 500)


def test_abstentions_are_compared() -> None:
    decision = Decision(num_images=50, abstain_threshold=0.6)
    card = DeploymentCard(CLASSES, Preprocessing(), decision=decision, validation={"abstained": 5, "num_images": 50})
    counts = CollectorRegistry()
    drift = Drift(card, counts)
    for number in range(8):
        drift.count(ModelAnswer("a", 1.0, 0, (1.0, 0.0, 0.0), abstain=number < 2))

    families = {family.name: family for family in drift.compared(counts).collect()}
    shares = {one.labels["images"]: one.value for one in families["classifier_abstained_share"].samples}
    assert shares == {"recent": 0.25, "validation": 0.1}
    assert counts.get_sample_value("classifier_abstained_total") == 2
