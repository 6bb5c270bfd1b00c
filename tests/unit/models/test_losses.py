from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from timm.loss.binary_cross_entropy import BinaryCrossEntropy
from timm.loss.cross_entropy import SoftTargetCrossEntropy
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from classifier_training.config.schema import LossConfig
from classifier_training.models.losses import ClassificationLoss, binary_cross_entropy, cross_entropy, focal_loss

LOGITS = torch.randn(16, 5, generator=torch.Generator().manual_seed(0)) * 3
LABELS = torch.arange(16) % 4  # the last class has no image
WEIGHT = torch.tensor([0.2, 1.0, 3.0, 0.7, 5.0])
SOFT = torch.randn(16, 5, generator=torch.Generator().manual_seed(1)).softmax(dim=1)
COUNTS = [100, 50, 10, 5, 1]
WEIGHTS = (None, WEIGHT)


def make_loss(name: str = "cross_entropy", smoothing: float = 0.0, **options: Any) -> ClassificationLoss:
    return ClassificationLoss(LossConfig.model_validate({"name": name, "label_smoothing": smoothing}), **options)


def plain_focal_loss(logits: Tensor, labels: Tensor, weight: Tensor | None, gamma: float) -> float:
    """The formula of Lin et al. with floats and loops, without smoothing."""
    total, divisor = 0.0, 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        p_t = math.exp(row[label]) / sum(math.exp(value) for value in row)
        alpha = 1.0 if weight is None else float(weight[label])
        total += -alpha * (1 - p_t) ** gamma * math.log(p_t)
        divisor += alpha
    return total / divisor


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_torch(weight: Tensor | None, smoothing: float) -> None:
    reference = torch.nn.CrossEntropyLoss(weight, label_smoothing=smoothing)(LOGITS, LABELS)
    torch.testing.assert_close(cross_entropy(LOGITS, LABELS, weight, smoothing), reference)


def test_cross_entropy_of_soft_targets_is_that_of_timm() -> None:
    reference: Any = SoftTargetCrossEntropy
    torch.testing.assert_close(cross_entropy(LOGITS, SOFT), reference()(LOGITS, SOFT))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_soft_targets_follows_its_formula(smoothing: float) -> None:
    smoothed = (1 - smoothing) * SOFT.double() + smoothing / 5
    costs = -smoothed * WEIGHT * LOGITS.double().log_softmax(dim=1)
    expected = costs.sum() / (SOFT * WEIGHT).sum()
    torch.testing.assert_close(cross_entropy(LOGITS, SOFT, WEIGHT, smoothing).double(), expected)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_mixing_two_labels_mixes_their_losses(weight: Tensor | None) -> None:
    """Mixup's loss, as its authors write it: λ L(z, a) + (1 − λ) L(z, b), for two classes of one weight."""
    labels = torch.zeros(16, dtype=torch.int64)
    others = labels + 1
    weight = None if weight is None else weight.index_fill(0, torch.tensor([0, 1]), 2.0)
    mixed = 0.3 * F.one_hot(labels, 5) + 0.7 * F.one_hot(others, 5)
    for loss in (cross_entropy, focal_loss, binary_cross_entropy):
        expected = 0.3 * loss(LOGITS, labels, weight) + 0.7 * loss(LOGITS, others, weight)
        torch.testing.assert_close(loss(LOGITS, mixed, weight), expected)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_loss_follows_its_formula(weight: Tensor | None, gamma: float) -> None:
    loss = focal_loss(LOGITS, LABELS, weight, gamma=gamma)
    assert float(loss) == pytest.approx(plain_focal_loss(LOGITS, LABELS, weight, gamma), rel=1e-5)


def test_class_weights_do_not_change_how_hard_an_image_is() -> None:
    """A common fault: p_t taken from the weighted cross-entropy. One image, so its weight cancels out."""
    logits, labels = LOGITS[:1], LABELS[:1]
    torch.testing.assert_close(focal_loss(logits, labels, WEIGHT * 10), focal_loss(logits, labels))


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_loss_without_focus_is_cross_entropy(weight: Tensor | None, smoothing: float) -> None:
    focal = focal_loss(LOGITS, LABELS, weight, smoothing, gamma=0.0)
    torch.testing.assert_close(focal, F.cross_entropy(LOGITS, LABELS, weight, label_smoothing=smoothing))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy_is_that_of_timm(smoothing: float) -> None:
    # timm smooths to ε/K and 1 − ε + ε/K, too
    reference = BinaryCrossEntropy(smoothing=smoothing)(LOGITS, LABELS)
    torch.testing.assert_close(binary_cross_entropy(LOGITS, LABELS, None, smoothing), reference)


def test_binary_cross_entropy_of_soft_targets_is_that_of_timm() -> None:
    reference = BinaryCrossEntropy(smoothing=0.0)(LOGITS, SOFT)
    torch.testing.assert_close(binary_cross_entropy(LOGITS, SOFT), reference)


def test_binary_cross_entropy_weighs_images_by_their_label() -> None:
    targets = F.one_hot(LABELS, 5).float()
    each = F.binary_cross_entropy_with_logits(LOGITS, targets, reduction="none").mean(dim=1)
    expected = sum(float(WEIGHT[label] * loss) for label, loss in zip(LABELS, each, strict=True))
    loss = binary_cross_entropy(LOGITS, LABELS, WEIGHT)
    assert float(loss) == pytest.approx(expected / float(WEIGHT[LABELS].sum()), rel=1e-5)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "bce"])
@pytest.mark.parametrize("weights", [None, WEIGHT.tolist()])
def test_equal_weights_change_nothing_and_scale_does_not_matter(name: str, weights: list[float] | None) -> None:
    scaled = [10 * weight for weight in weights or [1.0] * 5]
    one, other = make_loss(name, class_weights=weights), make_loss(name, class_weights=scaled)
    torch.testing.assert_close(one(LOGITS, LABELS), other(LOGITS, LABELS))


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "bce"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("soft", [False, True])
def test_gradients_stay_finite_at_saturated_logits(
    name: str, dtype: torch.dtype, gamma: float, sign: int, soft: bool
) -> None:
    logits = (F.one_hot(LABELS, 5) * 500.0 * sign).to(dtype).requires_grad_()
    config = LossConfig.model_validate({"name": name, "label_smoothing": 0.0, "focal_gamma": gamma})
    labels = F.one_hot(LABELS, 5).to(dtype) if soft else LABELS
    loss = ClassificationLoss(config)(logits, labels)
    loss.backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(loss))
    assert bool(logits.grad.isfinite().all())
    if sign < 0:
        assert bool((logits.grad != 0).any()), "a wrong and certain answer must still be corrected"


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_gradient_of_the_focal_loss_is_that_of_its_formula(gamma: float) -> None:
    logits = LOGITS[:4].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: focal_loss(values, LABELS[:4], None, gamma=gamma), logits)
    soft = SOFT[:4].double()
    assert torch.autograd.gradcheck(lambda values: focal_loss(values, soft, WEIGHT.double(), 0.1, gamma), logits)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "bce"])
def test_logit_adjustment_adds_the_logarithm_of_the_class_shares(name: str) -> None:
    shares = torch.tensor([count / sum(COUNTS) for count in COUNTS])
    adjusted = make_loss(name, class_counts=COUNTS)(LOGITS, LABELS)
    torch.testing.assert_close(adjusted, make_loss(name)(LOGITS + shares.log(), LABELS))


def test_logit_adjustment_of_balanced_classes_changes_nothing() -> None:
    torch.testing.assert_close(make_loss(class_counts=[7] * 5)(LOGITS, LABELS), make_loss()(LOGITS, LABELS))


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "bce"])
def test_the_validation_loss_is_plain(name: str) -> None:
    loss = make_loss(name, 0.3, class_weights=WEIGHT.tolist(), class_counts=COUNTS)
    plain = BinaryCrossEntropy(smoothing=0.0) if name == "bce" else F.cross_entropy
    each = loss.evaluate(LOGITS, LABELS)
    assert each.shape == LABELS.shape
    torch.testing.assert_close(each.mean(), plain(LOGITS, LABELS))


def test_derived_buffers_stay_out_of_checkpoints_and_follow_the_device() -> None:
    loss = make_loss(class_weights=WEIGHT.tolist(), class_counts=COUNTS)
    assert loss.state_dict() == {}
    moved = loss.to("meta")
    assert moved.weight is not None
    assert moved.adjustment is not None
    assert moved.weight.is_meta
    assert moved.adjustment.is_meta
