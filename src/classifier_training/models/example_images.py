"""Images of an epoch that are worth showing, kept on the device; for data that cannot be read again."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classifier_training.metrics.scores import Predictions
from classifier_training.models.predictions import predict_with_losses
from classifier_training.types import Preprocessing

NUM_KEPT: Final = 24

Kind = Literal["samples", "worst", "least_certain"]


class Examples(NamedTuple):
    """N images of one kind, the first ones first.

    Attributes:
        images: As the model got them: (N, C, H, W).
        predictions: Those of these images.
    """

    images: Tensor
    predictions: Predictions


class ExampleCollector:
    """Keeps the first images of an epoch, its worst errors and its least certain images; no synchronisation per step.

    Letters: B batch size, K number of classes, N number of kept images.

    Args:
        number: Most images of each kind.
    """

    def __init__(self, number: int = NUM_KEPT) -> None:
        self._samples, self._worst, self._least_certain = (_Top(number) for _ in range(3))
        self._num_seen = 0

    @torch.no_grad()
    def update(self, images: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch: images (B, C, H, W), logits float (B, K), labels integer (B,), -100 where unknown."""
        logits, labels = logits.float(), labels.to(logits.device, torch.int64)
        inside = labels.clamp(0, logits.shape[1] - 1)
        predicted, confidence, losses = predict_with_losses(logits, inside)
        facts = torch.stack([inside.float(), predicted.float(), confidence, losses], dim=1)  # MPS has no float64
        is_labelled = labels == inside
        turn = -torch.arange(self._num_seen, self._num_seen + len(labels), device=logits.device, dtype=torch.float32)
        self._num_seen += len(labels)
        self._samples.update(images, facts, turn.masked_fill(~is_labelled, -torch.inf))
        self._worst.update(images, facts, facts[:, 3].masked_fill(~is_labelled | (predicted == inside), -torch.inf))
        self._least_certain.update(images, facts, (-facts[:, 2]).masked_fill(~is_labelled, -torch.inf))

    def compute(self) -> dict[Kind, Examples]:
        """What this process kept, on the CPU."""
        kinds: dict[Kind, _Top] = {"samples": self._samples, "worst": self._worst, "least_certain": self._least_certain}
        return {name: kept for name, kind in kinds.items() if (kept := kind.compute()) is not None}


class _Top:
    """The images with the highest scores, the highest first."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None

    def update(self, images: Tensor, facts: Tensor, scores: Tensor) -> None:
        columns = images.to(scores.device), facts, scores
        if self._kept is not None and self._kept[0].shape[1:] != images.shape[1:]:
            return  # a batch of images of another size
        if self._kept is not None:
            columns = tuple(torch.cat([old, new]) for old, new in zip(self._kept, columns, strict=True))  # type: ignore[assignment]
        order = columns[2].nan_to_num(nan=torch.inf).topk(min(self.number, len(columns[2]))).indices
        self._kept = columns[0][order], columns[1][order], columns[2][order]

    def compute(self) -> Examples | None:
        if self._kept is None:
            return None
        images, facts, scores = (column.cpu() for column in self._kept)
        chosen = scores != -torch.inf
        values = facts[chosen].numpy()
        labels, predicted = (values[:, column].astype(np.int64) for column in (0, 1))
        return Examples(images[chosen], Predictions(labels, predicted, values[:, 2], values[:, 3]))


def as_colours(images: Tensor, preprocessing: Preprocessing | None) -> NDArray[np.uint8]:
    """The input of a model as an image to look at.

    Args:
        images: (B, C, H, W), one or three channels, normalised, or uint8.
        preprocessing: How they were normalised; None: unknown, and values beyond [0, 1] are stretched into it.

    Returns:
        uint8 (B, H, W, 3).
    """
    values = images.detach().cpu()
    colours: NDArray[np.float32] = values.float().expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    if values.dtype != torch.uint8:
        if preprocessing is not None:
            colours = colours * np.array(preprocessing.std, np.float32) + np.array(preprocessing.mean, np.float32)
        elif colours.size and (colours.min() < 0 or colours.max() > 1):
            colours = (colours - colours.min()) / max(float(np.ptp(colours)), 1e-12)
        colours = colours * 255
    return np.nan_to_num(colours).round().clip(0, 255).astype(np.uint8)
