"""Training losses: functions of logits and labels, and the module that holds their settings.

Letters: B batch size, K number of classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from classifier_training.config.schema import LossConfig


def cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """Softmax cross-entropy, averaged with the weights of the labels.

    Args:
        logits: float (B, K).
        labels: int64 (B,).
        weight: float (K,), weight of each class.
        label_smoothing: Mass in [0, 1) that is spread over all classes.

    Returns:
        Scalar.
    """
    return F.cross_entropy(logits, labels, weight=weight, label_smoothing=label_smoothing)


def focal_loss(
    logits: Tensor, labels: Tensor, weight: Tensor | None = None, label_smoothing: float = 0.0, gamma: float = 2.0
) -> Tensor:
    """Focal loss, Lin et al. 2017: mean of (1 − p_t)^γ times the cross-entropy of each image.

    p_t is the softmax probability of the true class; class weights scale the loss and never enter p_t. With γ = 0
    it equals `cross_entropy`.

    Args:
        logits: float (B, K).
        labels: int64 (B,).
        weight: float (K,), weight of each class.
        label_smoothing: Mass in [0, 1) that is spread over all classes.
        gamma: Focusing exponent γ ≥ 0.

    Returns:
        Scalar.
    """
    log_probability = F.log_softmax(logits, dim=1).gather(1, labels[:, None]).squeeze(1)
    # 1 − p from log p without the cancellation that makes the gradient of (1 − p)^γ infinite at p = 1
    miss = -torch.expm1(log_probability)
    each = F.cross_entropy(logits, labels, weight=weight, label_smoothing=label_smoothing, reduction="none")
    modulated = miss.clamp(min=torch.finfo(miss.dtype).tiny).pow(gamma) * each
    return modulated.mean() if weight is None else modulated.sum() / weight[labels].sum()


def binary_cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """One sigmoid a class against the one-hot label, averaged over images and classes (Wightman et al. 2021).

    Args:
        logits: float (B, K).
        labels: int64 (B,).
        weight: float (K,); an image counts with the weight of its label.
        label_smoothing: ε; targets are 1 − ε + ε/K and ε/K.

    Returns:
        Scalar.
    """
    num_classes = logits.shape[1]
    targets = torch.full_like(logits, label_smoothing / num_classes)
    targets.scatter_(1, labels[:, None], 1.0 - label_smoothing + label_smoothing / num_classes)
    each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
    if weight is None:
        return each.mean()
    return (each * weight[labels]).sum() / weight[labels].sum()


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
        """Training loss of logits float32 (B, K) and labels int64 (B,): a scalar."""
        if self.adjustment is not None:
            logits = logits + self.adjustment
        smoothing = self.config.label_smoothing
        if self.config.name == "focal":
            return focal_loss(logits, labels, self.weight, smoothing, self.config.focal_gamma)
        if self.config.name == "bce":
            return binary_cross_entropy(logits, labels, self.weight, smoothing)
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
