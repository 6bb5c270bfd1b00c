from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from classifier_training.metrics.temperature import MIN_IMAGES, fit_temperature


def sampled(num_images: int = 1_000, num_classes: int = 5) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits, and labels sampled from their softmax: the best temperature is about 1."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (num_images, num_classes)).astype(np.float32)
    noise = generator.gumbel(size=logits.shape)
    return logits, (logits + noise).argmax(axis=1)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_is_that_of_the_lowest_log_loss(scale: float) -> None:
    logits, labels = sampled()
    logits *= np.float32(scale)

    found = fit_temperature(logits, labels)

    def log_loss(temperature: float) -> float:
        return -float(log_softmax(logits.astype(np.float64) / temperature, axis=1)[range(len(labels)), labels].mean())

    expected = minimize_scalar(log_loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-8}).x
    assert found.is_fitted
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert found.value == pytest.approx(scale, rel=0.1)
    assert found.num_images == len(labels)


def test_logits_of_any_size_are_no_trouble() -> None:
    logits, labels = sampled(200)

    assert fit_temperature(logits * np.float32(5) + np.float32(1e4), labels).value == pytest.approx(
        fit_temperature(logits, labels).value * 5, rel=1e-2
    )


def test_without_a_best_temperature_it_stays_1() -> None:
    logits, labels = sampled(100)
    nan = np.where(np.arange(5) == 2, np.nan, logits).astype(np.float32)
    cases = {
        f"{MIN_IMAGES - 1} validation images are too few": (logits[: MIN_IMAGES - 1], labels[: MIN_IMAGES - 1]),
        "0 validation images are too few": (logits[:0], labels[:0]),
        "all 100 validation images are predicted correctly": (logits, logits.argmax(axis=1)),
        "tell too little about the classes": (-logits, labels),
        "not a finite number": (nan, labels),
    }

    for reason, (values, truth) in cases.items():
        found = fit_temperature(values, truth)
        assert (found.value, found.is_fitted, found.num_images) == (1.0, False, len(truth))
        assert reason in found.reason
    assert fit_temperature(logits[:MIN_IMAGES], labels[:MIN_IMAGES]).is_fitted
