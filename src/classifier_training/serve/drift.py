"""Whether the images of late are like those of the validation split: predicted classes, abstentions, unknown scores."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily

from classifier_training.serve.model import ModelAnswer

if TYPE_CHECKING:
    from classifier_training.inference.card import DeploymentCard

PREDICTIONS: Final = "classifier_recent_predictions"
ABSTENTIONS: Final = "classifier_recent_abstentions"
WINDOW: Final = 1000
"""Over how many of the latest images of a process drift is measured."""


def population_stability_index(expected: ArrayLike, found: ArrayLike) -> float:
    r"""How far two distributions of counts lie apart: :math:`\sum_k (q_k - p_k) \ln(q_k / p_k)`.

    Below 0.1 is usually taken for no change, above 0.25 for a large one. Half an image is added to every count, as an
    empty cell would make the sum infinite.

    Args:
        expected: Counts (K,), such as those of the validation split.
        found: Counts (K,).

    Returns:
        At least 0; the Jeffreys divergence of both.
    """
    p, q = (np.asarray(counts, np.float64) + 0.5 for counts in (expected, found))
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


class Drift:
    """Counts what the model answers of late, and compares it with its answers on the validation split.

    Args:
        card: Of the model; without figures of the validation split nothing is compared.
        registry: Gets the counts.
    """

    def __init__(self, card: DeploymentCard, registry: CollectorRegistry) -> None:
        self._card = card
        self._window: deque[tuple[str, bool]] = deque()
        self._total = Counter("classifier_predictions", "Answers by predicted class.", ["label"], registry=registry)
        self._abstained = Counter("classifier_abstained", "Answers that were abstentions.", registry=registry)
        self._recent = Gauge(
            PREDICTIONS,
            f"The latest {WINDOW} answers of each process by predicted class.",
            ["label"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._recent_abstained = Gauge(
            ABSTENTIONS, "Abstentions among them.", registry=registry, multiprocess_mode="livesum"
        )

    def count(self, answer: ModelAnswer) -> None:
        """Counts one answer."""
        abstained = bool(answer.abstain)
        self._total.labels(answer.label).inc()
        self._abstained.inc(abstained)
        self._recent.labels(answer.label).inc()
        self._recent_abstained.inc(abstained)
        self._window.append((answer.label, abstained))
        if len(self._window) > WINDOW:
            label, abstained = self._window.popleft()
            self._recent.labels(label).dec()
            self._recent_abstained.dec(abstained)

    def compared(self, counts: CollectorRegistry) -> CollectorRegistry:
        """What follows from the counts of a registry, which may be those of several processes."""
        registry = CollectorRegistry()
        registry.register(_Comparison(self._card, counts))
        return registry


class _Comparison:
    """Population stability indices and shares, computed when they are asked for."""

    def __init__(self, card: DeploymentCard, counts: CollectorRegistry) -> None:
        self._card, self._counts = card, counts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = {family.name: family.samples for family in self._counts.collect()}
        recent = {sample.labels["label"]: int(sample.value) for sample in found.get(PREDICTIONS, ())}
        num_images = sum(recent.values())
        yield GaugeMetricFamily("classifier_recent_images", "Images that drift is measured over.", value=num_images)
        if not num_images:
            return
        validation, names = self._card.validation or {}, self._card.classes
        expected: Mapping[str, int] = validation.get("predicted", {})
        if sum(expected.values()):
            index = population_stability_index(
                [expected.get(name, 0) for name in names], [recent.get(name, 0) for name in names]
            )
            by_chance = (len(names) - 1) * (1 / num_images + 1 / sum(expected.values()))
            yield _gauge("drift_psi", "Population stability index against the validation split.", index)
            yield _gauge("drift_psi_by_chance", "What it is on average where nothing changed.", by_chance)
        decision = self._card.decision
        if decision is not None and decision.abstain_threshold is not None:
            shares = {"recent": sum(sample.value for sample in found.get(ABSTENTIONS, ())) / num_images}
            if validation.get("num_images"):
                shares["validation"] = validation.get("abstained", 0) / validation["num_images"]
            family = GaugeMetricFamily("classifier_abstained_share", "Share of abstentions.", labels=["images"])
            for images, share in shares.items():
                family.add_metric([images], share)
            yield family


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"classifier_{name}", meaning, labels=["quantity"])
    family.add_metric(["predicted_class"], value)
    return family
