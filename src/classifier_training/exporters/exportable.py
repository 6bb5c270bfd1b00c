"""What every form of an export needs of a model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from classifier_training.errors import ExportError, first_line


def check_exportable(model: nn.Module, example: Tensor) -> None:
    """Refuses a model that is not in evaluation mode, or does not map images (N, 3, H, W) to logits (N, K).

    Raises:
        ExportError: It is none.
    """
    size = f"{example.shape[2]} x {example.shape[3]}"
    if model.training:
        raise ExportError("the model must be in evaluation mode: call model.eval() before the export")
    try:
        with torch.no_grad():
            logits = model(example)
    except Exception as error:  # any error of the user's forward
        raise ExportError(f"the model refuses images of 3 channels of {size} pixels: {first_line(error)}") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(example):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ExportError(f"forward must return logits (N, K) for images (N, 3, H, W); got {got}")
