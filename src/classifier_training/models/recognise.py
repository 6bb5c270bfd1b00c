"""Which backbone a file of weights belongs to, by the names and shapes of its tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import timm
import torch

from classifier_training.errors import CheckpointError, ModelError
from classifier_training.models.backbone import head_parameters
from classifier_training.models.checkpoint import read_checkpoint
from classifier_training.models.weights import read_state_dict


def recognise_backbone(path: Path, names: Iterable[str]) -> str:
    """The backbone of a file of weights: the one that a checkpoint of ours names, or the first whose tensors fit.

    Args:
        path: A file for ``model.weights``.
        names: Timm names to compare with.

    Raises:
        ModelError: The file cannot be read, or fits none of them.
    """
    state = read_state_dict(path)
    with contextlib.suppress(CheckpointError):
        return str(read_checkpoint(path)["hyper_parameters"]["backbone"])
    tried = list(names)
    for name in tried:
        with torch.device("meta"):
            backbone = timm.create_model(name)
        heads = {id(parameter) for parameter in head_parameters(backbone)}
        own = {key for key, parameter in backbone.named_parameters() if id(parameter) not in heads}
        shapes = {key: tensor.shape for key, tensor in backbone.state_dict().items()}
        if all(key in state and state[key].shape == shapes[key] for key in own):
            return name
    raise ModelError(
        f"model.weights={path} fits none of {', '.join(tried)}: name its backbone with model.name, as model.name=auto"
        " knows these alone"
    )
