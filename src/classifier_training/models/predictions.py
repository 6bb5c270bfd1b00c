"""What a model says of each image of an epoch, collected on the device and over all ranks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from classifier_training.scores import Predictions


class PredictionCollector:
    """Collects a few numbers an image; no synchronisation per step.

    Letters: B batch size, K number of classes, N number of images of all ranks.
    """

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, ...]] = []

    @torch.no_grad()
    def update(self, logits: Tensor, labels: Tensor, indices: Tensor) -> None:
        """Adds a batch.

        Args:
            logits: Float (B, K).
            labels: int64 (B,), class indices.
            indices: int64 (B,), positions of the images in their split.
        """
        logits = logits.float()
        logits = logits.masked_fill(logits.isnan(), -torch.inf)
        log_probabilities = logits.log_softmax(dim=1).nan_to_num(nan=-torch.inf, neginf=-torch.inf)
        predicted = logits.argmax(dim=1)
        confidence = log_probabilities.gather(1, predicted[:, None]).exp().squeeze(1)
        losses = -log_probabilities.gather(1, labels.to(logits.device)[:, None]).squeeze(1)
        self._batches.append((indices, labels, predicted, confidence, losses))

    def compute(self) -> Predictions | None:
        """What was collected since the last call, by position in the split; None where there was nothing.

        All ranks must call it, and all of them get the same.
        """
        batches, self._batches = self._batches, []
        parts = [[part.cpu() for part in batch] for batch in batches]
        columns = [torch.cat(column).numpy() for column in zip(*parts, strict=True)]
        columns = _of_all_ranks(columns)
        if not columns:
            return None
        # the sanity check and repeated rows aside, every image comes once
        indices, first = np.unique(columns[0], return_index=True)
        labels, predicted, confidence, losses = (column[first] for column in columns[1:])
        return Predictions(labels, predicted, confidence, losses) if len(indices) else None


def _of_all_ranks(columns: list[np.ndarray]) -> list[np.ndarray]:
    """The columns of every process, one after another."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return columns
    gathered: list[list[np.ndarray] | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, columns)
    whole = [part for part in gathered if part]
    return [np.concatenate(parts) for parts in zip(*whole, strict=True)]
