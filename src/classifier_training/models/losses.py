"""Training losses: functions of logits and labels, and the module that holds their settings.

A label is a class index, or the probabilities of all classes: soft targets, as mixup (Zhang et al. 2018) and
distillation (Hinton et al. 2015) make them. The loss of a soft target t is the mean of the losses of the classes,
distributed as t says, so a one-hot target gives the loss of its label:

    L(z, t) = Σ_c t_c w_c ℓ(z, c) / Σ_c t_c w_c        over a batch: both sums run over all images

with ℓ the loss of one image for the label c and w the class weights. A batch whose weights are all 0 has the loss 0,
and no gradient.

Letters: B batch size, K number of classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from classifier_training.config.schema import LossConfig

SUM_TOLERANCE = 0.01
"""By which the sum of a soft target may differ from 1: bfloat16 rounds that much."""


def cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """Softmax cross-entropy, averaged with the weights of the labels.

    Args:
        logits: float (B, K).
        labels: int64 (B,), or soft targets, float (B, K).
        weight: float (K,), weight of each class.
        label_smoothing: Mass in [0, 1) that is spread over all classes.

    Returns:
        Scalar.

    Raises:
        ValueError: The soft targets are not probabilities.
    """
    if labels.ndim == 1 and weight is None:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    if labels.ndim == 1 and weight is not None:
        is_counted = weight[labels].sum() > 0
        weight = torch.where(is_counted, weight, 1.0)
        return F.cross_entropy(logits, labels, weight=weight, label_smoothing=label_smoothing) * is_counted
    _check_soft_targets(logits, labels)
    # torch averages soft targets over images, whatever the weights
    total = F.cross_entropy(logits, labels, weight=weight, label_smoothing=label_smoothing, reduction="sum")
    return _divide(total, _weighted(labels, weight).sum())


def focal_loss(
    logits: Tensor, labels: Tensor, weight: Tensor | None = None, label_smoothing: float = 0.0, gamma: float = 2.0
) -> Tensor:
    """Focal loss, Lin et al. 2017: mean of (1 − p_t)^γ times the cross-entropy of each image.

    p_t is the softmax probability of the true class; class weights scale the loss and never enter p_t. With γ = 0
    it equals `cross_entropy`.

    Args:
        logits: float (B, K).
        labels: int64 (B,), or soft targets, float (B, K).
        weight: float (K,), weight of each class.
        label_smoothing: Mass in [0, 1) that is spread over all classes.
        gamma: Focusing exponent γ ≥ 0.

    Returns:
        Scalar.

    Raises:
        ValueError: The soft targets are not probabilities.
    """
    is_soft = labels.ndim == 2
    log_probability = F.log_softmax(logits, dim=1)  # (B, K) for soft targets, else (B,)
    if is_soft:
        _check_soft_targets(logits, labels)
        costs = -log_probability if weight is None else -log_probability * weight
        each = (1.0 - label_smoothing) * costs + label_smoothing * costs.mean(dim=1, keepdim=True)
    else:
        log_probability = log_probability.gather(1, labels[:, None]).squeeze(1)
        each = F.cross_entropy(logits, labels, weight=weight, label_smoothing=label_smoothing, reduction="none")
    # 1 − p from log p without the cancellation that makes the gradient of (1 − p)^γ infinite at p = 1
    miss = -torch.expm1(log_probability)
    modulated = miss.clamp(min=torch.finfo(miss.dtype).tiny).pow(gamma) * each
    if is_soft:
        return _divide((labels * modulated).sum(), _weighted(labels, weight).sum())
    return modulated.mean() if weight is None else _divide(modulated.sum(), weight[labels].sum())


def binary_cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """One sigmoid a class against the one-hot label, averaged over images and classes (Wightman et al. 2021).

    Args:
        logits: float (B, K).
        labels: int64 (B,), or soft targets, float (B, K).
        weight: float (K,); an image counts with the weight of its label.
        label_smoothing: ε; targets are 1 − ε + ε/K and ε/K.

    Returns:
        Scalar.

    Raises:
        ValueError: The soft targets are not probabilities.
    """
    num_classes = logits.shape[1]
    if labels.ndim == 1:
        targets = torch.full_like(logits, label_smoothing / num_classes)
        targets.scatter_(1, labels[:, None], 1.0 - label_smoothing + label_smoothing / num_classes)
        weights = None if weight is None else weight[labels]
    else:
        _check_soft_targets(logits, labels)
        weighted = _weighted(labels, weight)
        weights = None if weight is None else weighted.sum(dim=1)
        shares = weighted if weights is None else weighted / weights.clamp(min=torch.finfo(weights.dtype).tiny)[:, None]
        targets = (1.0 - label_smoothing) * shares + label_smoothing / num_classes
    each = F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none").mean(dim=1)
    return each.mean() if weights is None else _divide((each * weights).sum(), weights.sum())


def asymmetric_loss(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    gamma_positive: float = 0.0,
    gamma_negative: float = 4.0,
) -> Tensor:
    """Asymmetric loss, Ridnik et al. 2021 (arXiv 2009.14119), in its form for one label an image, with a softmax.

    With s the smoothed label, and a_k = (1 − p_k)^γ⁺ for the true class and p_k^γ⁻ for the others:

        ℓ(z, c) = −Σ_k s_k a_k log p_k

    The paper's code calls it ``ASLSingleLabel``. Without label smoothing it is the focal loss of γ⁺.

    Args:
        logits: float (B, K).
        labels: int64 (B,), or soft targets, float (B, K).
        weight: float (K,), weight of each class.
        label_smoothing: Mass in [0, 1) that is spread over all classes.
        gamma_positive: Focusing exponent γ⁺ ≥ 0 of the true class.
        gamma_negative: Focusing exponent γ⁻ ≥ 0 of the others.

    Returns:
        Scalar.

    Raises:
        ValueError: The soft targets are not probabilities.
    """
    targets = _as_probabilities(logits, labels)
    log_probabilities = F.log_softmax(logits, dim=1)
    costs = -log_probabilities if weight is None else -log_probabilities * weight
    miss = -torch.expm1(log_probabilities)
    positive = miss.clamp(min=torch.finfo(miss.dtype).tiny).pow(gamma_positive) * costs
    negative = torch.exp(gamma_negative * log_probabilities) * costs
    spread = label_smoothing / logits.shape[1]  # of which every class but the true one has the negative cost
    own = (1.0 - label_smoothing + spread) * positive - spread * negative
    others = spread * negative.sum(dim=1, keepdim=True)
    return _divide((targets * (own + others)).sum(), _weighted(targets, weight).sum())


def poly1_loss(
    logits: Tensor, labels: Tensor, weight: Tensor | None = None, label_smoothing: float = 0.0, epsilon: float = 1.0
) -> Tensor:
    """Poly-1, Leng et al. 2022 (arXiv 2204.12511): the cross-entropy with another first term of its Taylor series.

    With s the smoothed label: ℓ(z, c) = Σ_k s_k (−log p_k + ε (1 − p_k)). With ε = 0 it equals `cross_entropy`.

    Args:
        logits: float (B, K).
        labels: int64 (B,), or soft targets, float (B, K).
        weight: float (K,), weight of each class.
        label_smoothing: Mass in [0, 1) that is spread over all classes.
        epsilon: ε ≥ −1, by how much the first coefficient is larger than that of the cross-entropy.

    Returns:
        Scalar.

    Raises:
        ValueError: The soft targets are not probabilities.
    """
    targets = _as_probabilities(logits, labels)
    log_probabilities = F.log_softmax(logits, dim=1)
    costs = -log_probabilities - epsilon * torch.expm1(log_probabilities)
    costs = costs if weight is None else costs * weight
    smoothed = (1.0 - label_smoothing) * targets + label_smoothing / logits.shape[1] * targets.sum(dim=1, keepdim=True)
    return _divide((smoothed * costs).sum(), _weighted(targets, weight).sum())


def _as_probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    """Labels as one-hot targets, (B, K), and soft targets as they are, checked."""
    if labels.ndim == 1:
        return torch.zeros_like(logits).scatter_(1, labels[:, None], 1.0)
    _check_soft_targets(logits, labels)
    return labels


def _check_soft_targets(logits: Tensor, targets: Tensor) -> None:
    """Makes sure that soft targets are probabilities of the classes of the logits.

    Their values are read on the CPU alone: elsewhere every step would wait for the device.

    Raises:
        ValueError: They are of another shape or type, negative, or do not sum to 1.
    """
    if targets.shape != logits.shape or not targets.is_floating_point():
        raise ValueError(
            f"labels are {targets.dtype} {tuple(targets.shape)} for logits {tuple(logits.shape)}; allowed are class"
            f" indices, int64 {tuple(logits.shape[:1])}, and probabilities, float {tuple(logits.shape)}"
        )
    if targets.device.type != "cpu":
        return
    is_wrong = (targets < 0).any(dim=1) | ~((targets.sum(dim=1) - 1).abs() <= SUM_TOLERANCE)
    if is_wrong.numpy().any():
        row = int(is_wrong.nonzero()[0])
        raise ValueError(
            f"the soft target of image {row} of the batch is not a distribution over the classes: smallest value"
            f" {float(targets[row].min()):.4g}, sum {float(targets[row].sum()):.4g}; it must be >= 0 and sum to 1"
        )


def _divide(total: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean from its two sums; 0 without any weight. Nothing here waits for the device."""
    is_counted = weights > 0
    return total / torch.where(is_counted, weights, 1.0) * is_counted


def _weighted(targets: Tensor, weight: Tensor | None) -> Tensor:
    """Soft targets times the class weights, (B, K)."""
    return targets if weight is None else targets * weight


class ClassificationLoss(nn.Module):
    """The configured training loss, with class weights or logit adjustment where the balance setting asks for them.

    Logit adjustment (Menon et al. 2021, "Long-tail learning via logit adjustment"): log π_k is added to the logits,
    π being the classes' shares of the training images; predictions use the logits as they are.

    Args:
        config: Name and options of the loss.
        class_weights: K weights; None: all equal.
        class_counts: K training image counts for logit adjustment; None: no adjustment.
    """

    weight: Tensor | None
    adjustment: Tensor | None

    def __init__(
        self,
        config: LossConfig,
        class_weights: Sequence[float] | None = None,
        class_counts: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        # derived from settings, so it does not belong into a checkpoint's weights
        self.register_buffer("weight", weight, persistent=False)
        prior = None if class_counts is None else torch.tensor(class_counts, dtype=torch.float64)
        adjustment = None if prior is None else (prior / prior.sum()).log().float()
        self.register_buffer("adjustment", adjustment, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Training loss of logits float32 (B, K) and labels int64 (B,) or soft targets float (B, K): a scalar."""
        if self.adjustment is not None:
            logits = logits + self.adjustment
        smoothing = self.config.label_smoothing
        if self.config.name == "focal":
            return focal_loss(logits, labels, self.weight, smoothing, self.config.focal_gamma)
        if self.config.name == "bce":
            return binary_cross_entropy(logits, labels, self.weight, smoothing)
        if self.config.name == "asymmetric":
            gammas = self.config.asymmetric_gamma_positive, self.config.asymmetric_gamma_negative
            return asymmetric_loss(logits, labels, self.weight, smoothing, *gammas)
        if self.config.name == "poly1":
            return poly1_loss(logits, labels, self.weight, smoothing, self.config.poly_epsilon)
        return cross_entropy(logits, labels, self.weight, smoothing)

    def evaluate(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The plain loss for validation: without smoothing, weights, focus or adjustment, comparable between runs.

        Args:
            logits: float (B, K).
            labels: int64 (B,).

        Returns:
            One loss for each image, (B,).
        """
        if self.config.name == "bce":
            targets = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
            return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
        return F.cross_entropy(logits, labels, reduction="none")
