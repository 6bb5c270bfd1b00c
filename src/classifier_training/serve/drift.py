"""Whether the images of late are like those of the validation split: predicted classes, abstentions, unknown scores."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily

from classifier_training.serve.model import ModelAnswer

if TYPE_CHECKING:
    from classifier_training.inference.card import DeploymentCard

PREDICTIONS: Final = "classifier_recent_predictions"
ABSTENTIONS: Final = "classifier_recent_abstentions"
SCORES: Final = "classifier_recent_unknown_scores"
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


class _Answered(NamedTuple):
    """What of an answer is counted again when it leaves the window."""

    label: str
    abstained: bool
    tenth: str | None


class Drift:
    """Counts what the model answers of late, and compares it with its answers on the validation split.

    Args:
        card: Of the model; without figures of the validation split nothing is compared.
        registry: Gets the counts.
    """

    def __init__(self, card: DeploymentCard, registry: CollectorRegistry) -> None:
        self._card = card
        self._tenths = () if card.unknown is None else card.unknown.quantiles
        self._window: deque[_Answered] = deque()
        self._total = Counter("classifier_predictions", "Answers by predicted class.", ["label"], registry=registry)
        self._abstained = Counter("classifier_abstained", "Answers that were abstentions.", registry=registry)
        self._unknown = Counter("classifier_unknown", "Images that counted as unknown.", registry=registry)
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

        self._recent_scores = Gauge(
            SCORES,
            "Them by the tenth of the validation images that their unknown scores lie in.",
            ["tenth"],
            registry=registry,
            multiprocess_mode="livesum",
        )

    def count(self, answer: ModelAnswer) -> None:
        """Counts one answer."""
        score = answer.unknown_score
        tenth = str(bisect_left(self._tenths, score)) if self._tenths and score is not None else None
        answered = _Answered(answer.label, bool(answer.abstain), tenth)
        self._total.labels(answer.label).inc()
        self._abstained.inc(answered.abstained)
        self._unknown.inc(bool(answer.unknown))
        self._count_recent(answered, 1)
        self._window.append(answered)
        if len(self._window) > WINDOW:
            self._count_recent(self._window.popleft(), -1)

    def _count_recent(self, answered: _Answered, number: int) -> None:
        self._recent.labels(answered.label).inc(number)
        self._recent_abstained.inc(number * answered.abstained)
        if answered.tenth is not None:
            self._recent_scores.labels(answered.tenth).inc(number)

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
        """The families of metrics."""
        samples = {family.name: family.samples for family in self._counts.collect()}
        recent = {sample.labels["label"]: sample.value for sample in samples.get(PREDICTIONS, ())}
        num_images = sum(recent.values())
        yield GaugeMetricFamily("classifier_recent_images", "Images that drift is measured over.", value=num_images)
        if not num_images:
            return
        validation, names = self._card.validation or {}, self._card.classes
        predicted: Mapping[str, int] = validation.get("predicted", {})
        pairs: dict[str, tuple[list[float], list[float]]] = {
            "predicted_class": ([predicted.get(name, 0) for name in names], [recent.get(name, 0) for name in names])
        }
        unknown = self._card.unknown
        if unknown is not None and unknown.quantiles:
            tenths = {sample.labels["tenth"]: sample.value for sample in samples.get(SCORES, ())}
            number = len(unknown.quantiles) + 1
            expected = [unknown.num_images / number] * number
            pairs["unknown_score"] = (expected, [tenths.get(str(tenth), 0) for tenth in range(number)])
        yield from _indices({name: pair for name, pair in pairs.items() if sum(pair[0]) and sum(pair[1])})
        decision = self._card.decision
        if decision is not None and decision.abstain_threshold is not None:
            shares = {"recent": sum(sample.value for sample in samples.get(ABSTENTIONS, ())) / num_images}
            if validation.get("num_images"):
                shares["validation"] = validation.get("abstained", 0) / validation["num_images"]
            yield _family("abstained_share", "Share of abstentions.", "images", shares)


def _indices(pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Iterator[GaugeMetricFamily]:
    """Of counts on the validation split and of late, by what was counted."""
    if not pairs:
        return
    found = {name: population_stability_index(*pair) for name, pair in pairs.items()}
    by_chance = {
        name: (len(expected) - 1) * (1 / sum(expected) + 1 / sum(recent)) for name, (expected, recent) in pairs.items()
    }
    yield _family("drift_psi", "Population stability index against the validation split.", "quantity", found)
    yield _family("drift_psi_by_chance", "What it is on average where nothing changed.", "quantity", by_chance)


def _family(name: str, meaning: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"classifier_{name}", meaning, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
