"""Validation metrics: torchmetrics counts on the device, the scores follow from the counts."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix
from torchmetrics.utilities import dim_zero_cat

from classifier_training.metrics.scores import Scores, scores_from_confusion


class ClassificationCounts(nn.Module):
    """Confusion matrix and top-5 hits over an epoch, summed over all ranks; no synchronisation per step.

    Counts exactly as `scores.confusion_and_top5` does, also where logits tie, as they often do in half precision: of
    equal logits the lower class index comes first, a NaN ranks last.

    Args:
        num_classes: K ≥ 2.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.confusion = MulticlassConfusionMatrix(num_classes, validate_args=False)
        self.top5 = Top5Hits()

    @torch.no_grad()
    def update(self, logits: Tensor, predicted: Tensor, labels: Tensor) -> None:
        """Adds a batch: logits float32 (B, K), predicted classes int64 (B,), labels int64 (B,)."""
        # given the classes, torchmetrics has nothing to decide about ties
        self.confusion.update(predicted, labels)
        self.top5.update(logits.masked_fill(logits.isnan(), -torch.inf), labels)

    def compute(self) -> Scores:
        """The scores of everything since the last reset."""
        return scores_from_confusion(self.confusion.compute().cpu().numpy(), int(self.top5.compute()))

    def reset(self) -> None:
        """Starts a new epoch."""
        self.confusion.reset()
        self.top5.reset()


class Top5Hits(Metric):
    """Number of images whose true class is among the min(5, K) most probable ones.

    torchmetrics' own top-k accuracy asks ``torch.topk``, which breaks ties differently from device to device.
    """

    hits: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("hits", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch: logits float (B, K) without NaN, labels int64 (B,)."""
        self.hits += (ranks_of_classes(logits, labels) < 5).sum()

    def compute(self) -> Tensor:
        """The number, int64 ()."""
        return self.hits


def most_probable_classes(logits: Tensor) -> Tensor:
    """The predicted classes, int64 (B,), of logits float (B, K): of equal ones the first; NaN ranks last."""
    return logits.masked_fill(logits.isnan(), -torch.inf).argmax(dim=1)


def ranks_of_classes(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the true one; of equal logits the lower class index comes first.

    Args:
        logits: Float (B, K) without NaN.
        labels: int64 (B,).

    Returns:
        int64 (B,).
    """
    true_logits = logits.gather(1, labels[:, None])
    is_lower_index = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    return ((logits > true_logits) | ((logits == true_logits) & is_lower_index)).sum(dim=1)


class RunningMean(Metric):
    """Mean of numbers by their weights, over all ranks; adding one never lets the host wait for the device.

    Bit for bit torchmetrics' ``MeanMetric``, which copies each weight to the device. A number that is not finite
    makes the mean so.
    """

    mean_value: Tensor
    weight: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("mean_value", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("weight", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: float) -> None:
        """Adds a number: float (), and its weight, which the host knows."""
        self.mean_value += value * weight
        self.weight += weight

    def compute(self) -> Tensor:
        """The mean, float32 ()."""
        return self.mean_value / self.weight


class ExactMean(Metric):
    """Mean of one value for each image, over all ranks, the same bits in whatever order they come.

    The sum is the exact one, rounded once, so it does not matter which rank had which image. A value that is not
    finite makes the mean so.
    """

    values: list[Tensor]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("values", [], dist_reduce_fx="cat")

    def update(self, values: Tensor) -> None:
        """Adds a batch: float (B,)."""
        self.values.append(values.detach())

    def compute(self) -> Tensor:
        """The mean, float64 ()."""
        values = dim_zero_cat(self.values).cpu().double()  # MPS has no float64
        return torch.tensor(math.fsum(values.tolist()) / len(values), dtype=torch.float64)
