"""Validation metrics: torchmetrics counts on the device, the scores follow from the counts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassStatScores

from classifier_training.scores import Scores, scores_from_confusion


class ClassificationCounts(nn.Module):
    """Confusion matrix and top-5 hits over an epoch, summed over all ranks; no synchronisation per step.

    Args:
        num_classes: K ≥ 2.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.confusion = MulticlassConfusionMatrix(num_classes, validate_args=False)
        top_k = min(5, num_classes)
        # top-K of K classes is always a hit, which torchmetrics does not accept as a question
        self.top5 = (
            MulticlassStatScores(num_classes, average="micro", top_k=top_k, validate_args=False)
            if top_k < num_classes
            else None
        )

    @torch.no_grad()
    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch: logits float32 (B, K), labels int64 (B,)."""
        self.confusion.update(logits, labels)
        if self.top5 is not None:
            self.top5.update(logits, labels)

    def compute(self) -> Scores:
        """The scores of everything since the last reset."""
        confusion = self.confusion.compute().cpu().numpy()
        num_top5 = int(confusion.sum()) if self.top5 is None else int(self.top5.compute()[0])
        return scores_from_confusion(confusion, num_top5)

    def reset(self) -> None:
        """Starts a new epoch."""
        self.confusion.reset()
        if self.top5 is not None:
            self.top5.reset()
