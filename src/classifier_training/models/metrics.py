"""Validation metrics: pairs of classes on the device, the scores follow from the counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from classifier_training.metrics.confusion import Confusion
from classifier_training.metrics.scores import Scores, scores_from_confusion
from classifier_training.run.processes import gather_by_rank


class ClassificationCounts(nn.Module):
    """Confusion matrix and top-5 hits over an epoch, of all ranks; no synchronisation per step.

    Counts exactly as `scores.count_top5` does, also where logits tie, as they often do in half precision: of equal
    logits the lower class index comes first, a NaN ranks last. The pairs of true and predicted class stay on the device
    and are counted once, at the end: a matrix of 10,000 classes in each step would be 800 MB.

    Args:
        num_classes: K ≥ 2.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self._pairs: list[tuple[Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def update(self, logits: Tensor, predicted: Tensor, labels: Tensor) -> None:
        """Adds a batch: logits float32 (B, K), predicted classes int64 (B,), labels int64 (B,)."""
        # torchmetrics' top-k accuracy asks torch.topk, which breaks ties differently from device to device
        is_in_top5 = ranks_of_classes(logits.masked_fill(logits.isnan(), -torch.inf), labels) < 5
        self._pairs.append((labels.clone(), predicted, is_in_top5))

    def compute(self) -> Scores:
        """The scores of everything since the last reset; all ranks must call it."""
        labels, predicted, is_in_top5 = (
            torch.cat(column).cpu().numpy() if column else np.zeros(0, np.int64)
            for column in ([pair[position] for pair in self._pairs] for position in range(3))
        )
        cells = Confusion.from_pairs(labels, predicted, self.num_classes)
        gathered = gather_by_rank((cells.labels, cells.predicted, cells.counts, int(is_in_top5.sum())))
        columns = (np.concatenate([of_rank[position] for of_rank in gathered]) for position in range(3))
        labels, predicted, counts = columns
        merged = Confusion.from_pairs(labels, predicted, self.num_classes, counts)
        return scores_from_confusion(merged, sum(of_rank[3] for of_rank in gathered))

    def reset(self) -> None:
        """Starts a new epoch."""
        self._pairs = []


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

    def update(self, value: Tensor, weight: float, is_left_out: Tensor | None = None) -> None:
        """Adds a number: float (), and its weight, which the host knows.

        What is left out, bool (1,), by what only the device knows, counts for nothing, whatever the number is.
        """
        if is_left_out is None:
            self.mean_value += value * weight
            self.weight += weight
        else:
            is_left_out = is_left_out.reshape(())
            self.mean_value += (value * weight).masked_fill(is_left_out, 0.0)
            self.weight += torch.full_like(self.weight, weight).masked_fill(is_left_out, 0.0)

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
