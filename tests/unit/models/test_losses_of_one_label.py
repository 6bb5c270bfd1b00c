"""The asymmetric loss and poly-1, against their formulas in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from timm.loss.asymmetric_loss import AsymmetricLossSingleLabel
from torch import Tensor

from classifier_training.config.schema import LossConfig
from classifier_training.errors import ConfigError
from classifier_training.models.losses import ClassificationLoss, asymmetric_loss, cross_entropy, focal_loss, poly1_loss
from classifier_training.models.training_checks import check_adjustment

LOGITS = 3 * torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 4, 2, 1, 1, 3])
WEIGHT = torch.tensor([0.5, 1.0, 2.0, 0.0, 4.0])
SOFT = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)).softmax(dim=1)


def naive(kind: str, logits: Tensor, target: Tensor, weight: Tensor | None, smoothing: float, *options: float) -> float:
    """Sums over images, labels and classes, in Python's numbers."""
    weights = [1.0] * logits.shape[1] if weight is None else weight.tolist()
    num_classes, total, divisor = logits.shape[1], 0.0, 0.0
    for values, shares in zip(logits.double().tolist(), target.double().tolist(), strict=True):
        normalizer = max(values) + math.log(sum(math.exp(value - max(values)) for value in values))
        logs = [value - normalizer for value in values]
        for label, share in enumerate(shares):
            divisor += share * weights[label]
            for index, log in enumerate(logs):
                smoothed = (1 - smoothing) * (index == label) + smoothing / num_classes
                if kind == "poly1":
                    cost = -log + options[0] * (1 - math.exp(log))
                else:
                    factor = (1 - math.exp(log)) ** options[0] if index == label else math.exp(log) ** options[1]
                    cost = -factor * log
                total += share * smoothed * weights[index] * cost
    return total / divisor


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("is_soft", [False, True])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("poly1", (2.0,)), ("poly1", (-1.0,)), ("asymmetric", (0.0, 4.0)), ("asymmetric", (1.5, 0.5))],
)
def test_they_follow_their_formulas(
    kind: str, options: tuple[float, ...], is_soft: bool, weight: Tensor | None, smoothing: float
) -> None:
    function: Any = poly1_loss if kind == "poly1" else asymmetric_loss
    targets = SOFT if is_soft else torch.nn.functional.one_hot(LABELS, 5).float()
    found = function(LOGITS, SOFT if is_soft else LABELS, weight, smoothing, *options)
    assert float(found) == pytest.approx(naive(kind, LOGITS, targets, weight, smoothing, *options), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_asymmetric_loss_is_that_of_timm(smoothing: float) -> None:
    expected = AsymmetricLossSingleLabel(gamma_pos=1, gamma_neg=4, eps=smoothing)(LOGITS.clone(), LABELS)
    torch.testing.assert_close(asymmetric_loss(LOGITS, LABELS, None, smoothing, 1.0, 4.0), expected)


def test_their_limits_are_other_losses() -> None:
    torch.testing.assert_close(poly1_loss(LOGITS, SOFT, WEIGHT, 0.1, 0.0), cross_entropy(LOGITS, SOFT, WEIGHT, 0.1))
    torch.testing.assert_close(asymmetric_loss(LOGITS, LABELS, WEIGHT, 0.0, 2.0), focal_loss(LOGITS, LABELS, WEIGHT))
    torch.testing.assert_close(asymmetric_loss(LOGITS, SOFT, None, 0.1, 0, 0), cross_entropy(LOGITS, SOFT, None, 0.1))


@pytest.mark.parametrize("settings", [{"name": "poly1", "poly_epsilon": -1.0}, {"name": "asymmetric"},
                                      {"name": "asymmetric", "asymmetric_gamma_positive": 0.5}])  # fmt: skip
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6])
def test_gradients_are_finite_and_right_at_any_logits(settings: dict[str, Any], scale: float) -> None:
    loss = ClassificationLoss(LossConfig.model_validate(settings))
    for targets in (LABELS, SOFT):
        logits = (scale * LOGITS).requires_grad_()
        (found,) = torch.autograd.grad(loss(logits, targets), logits)
        assert bool(found.isfinite().all())
        if scale == 1.0:
            exact = LOGITS.double().requires_grad_()
            (expected,) = torch.autograd.grad(loss(exact, targets if targets.ndim == 1 else targets.double()), exact)
            torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-6)
            moved = torch.zeros_like(exact)
            moved[2, 3] = 1e-6
            with torch.no_grad():
                target = targets if targets.ndim == 1 else targets.double()
                slope = (loss(exact + moved, target) - loss(exact - moved, target)) / 2e-6
            assert float(slope) == pytest.approx(float(expected[2, 3]), rel=1e-4, abs=1e-8)


@pytest.mark.parametrize(("given", "name"), [("soft_target_cross_entropy", "cross_entropy"), ("poly-1", "poly1")])
def test_other_names_of_losses_are_taken(given: str, name: str) -> None:
    assert LossConfig.model_validate({"name": given}).name == name


@pytest.mark.parametrize("name", ["asymmetric", "poly1", "focal", "bce"])
def test_logits_are_not_adjusted_for_them(name: str) -> None:
    with pytest.raises(ConfigError, match=f"loss.name={name}; use loss.name=cross_entropy"):
        check_adjustment(LossConfig.model_validate({"name": name}))
