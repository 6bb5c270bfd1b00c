"""The predictions of an epoch, collected on the device and over all ranks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classifier_training.metrics.scores import Predictions
from classifier_training.models.metrics import most_probable_classes, ranks_of_classes
from classifier_training.run.processes import gather_by_rank


class PredictionCollector:
    """Collects a few numbers an image; no synchronisation per step.

    Letters: B batch size, K number of classes, N number of images of all ranks.

    Attributes:
        positions: int64 (N,), the positions in their split of what `compute` gave last.
        num_top5: How many of these images have their class among the min(5, K) most probable ones.
    """

    def __init__(self) -> None:
        self.positions: NDArray[np.int64] = np.zeros(0, np.int64)
        self.num_top5 = 0
        self._batches: list[tuple[Tensor, ...]] = []

    @torch.no_grad()
    def update(self, logits: Tensor, labels: Tensor, indices: Tensor) -> None:
        """Adds a batch.

        Args:
            logits: Float (B, K).
            labels: Integer (B,), class indices; an image with another label is left out.
            indices: Integer (B,), positions of the images in their split, not negative.
        """
        logits = logits.float().masked_fill(logits.isnan(), -torch.inf)
        labels, indices = (values.to(logits.device, torch.int64) for values in (labels, indices))
        indices = indices.where((labels >= 0) & (labels < logits.shape[1]), -1)
        labels = labels.clamp(0, logits.shape[1] - 1)
        predicted, confidence, losses = predict_with_losses(logits, labels)
        is_in_top5 = ranks_of_classes(logits, labels) < 5
        self._batches.append((indices, labels, predicted, confidence, losses, is_in_top5))

    def compute(self) -> Predictions | None:
        """What was collected since the last call, by position in the split; None where there was nothing.

        All ranks must call it, and all of them get the same.
        """
        batches, self._batches = self._batches, []
        columns = [torch.cat(column).cpu().numpy() for column in zip(*batches, strict=True)]
        columns = [np.concatenate(parts) for parts in zip(*filter(None, gather_by_rank(columns)), strict=True)]
        if not columns:
            return None
        # a sampler that gives every rank as many repeats some
        self.positions, first = np.unique(columns[0], return_index=True)
        first = first[self.positions >= 0]
        self.positions = self.positions[self.positions >= 0]
        labels, predicted, confidence, losses, is_in_top5 = (column[first] for column in columns[1:])
        self.num_top5 = int(is_in_top5.sum())
        return Predictions(labels, predicted, confidence, losses) if len(first) else None


def predict_with_losses(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions and losses of a batch, without waiting for the device.

    Args:
        logits: Float32 (B, K); NaN counts as minus infinity.
        labels: int64 (B,), class indices.

    Returns:
        int64 (B,), the most probable class, of equal ones the first; float32 (B,), its probability, 0 where there are
        nothing but infinities; float32 (B,), minus the logarithm of the true class's probability, perhaps infinite.
    """
    logits = logits.masked_fill(logits.isnan(), -torch.inf)
    predicted = most_probable_classes(logits)
    top = logits.gather(1, predicted[:, None])
    log_sum = (logits - top).exp().sum(dim=1).log()
    confidence = (-log_sum).exp().nan_to_num(nan=0.0)
    losses = log_sum - (logits.gather(1, labels[:, None]) - top).squeeze(1)
    return predicted, confidence, losses.nan_to_num(nan=torch.inf, posinf=torch.inf)
