"""Whether a backbone can be trained on batches of one image."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_of_one(backbone: nn.Module, image_size: int) -> Literal["fine", "poor", "refused"]:
    """How well a backbone can be trained on one image at a time.

    BatchNorm takes its statistics from the batch: from one image they are poor, and from one value a channel, where the
    last map has 1 x 1 positions, PyTorch refuses to compute any.

    Args:
        backbone: Is not changed, and nothing is computed.
        image_size: Side S of the input, pixels.
    """
    if not any(isinstance(module, _BatchNorm) for module in backbone.modules()):
        return "fine"
    shapes_only = copy.deepcopy(backbone).to("meta").train()
    try:
        with torch.no_grad():
            shapes_only(torch.zeros(1, 3, image_size, image_size, device="meta"))
    except ValueError as error:
        return "refused" if "more than 1 value per channel" in str(error) else "poor"
    except (RuntimeError, NotImplementedError, TypeError):  # a backbone that cannot compute shapes alone
        return "poor"
    return "poor"
