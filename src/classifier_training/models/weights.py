"""Starting weights: timm's pretrained ones, or a file. Nothing is ever unpickled beyond tensors."""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from classifier_training.errors import ModelError, first_line
from classifier_training.files.text import is_file, why_no_file
from classifier_training.models.backbone import head_parameters
from classifier_training.models.finite import first_not_finite
from classifier_training.models.packaged_weights import with_timm_keys
from classifier_training.models.starting_weights import StartingWeights


def load_starting_weights(backbone: nn.Module, name: str, weights: StartingWeights) -> str:
    """Loads the weights that were found into a backbone; the head is kept only if the number of classes fits.

    Args:
        backbone: Of any number of classes.
        name: Its timm name.
        weights: From `fetch_weights`; those with a file on this disk.

    Returns:
        A message about what was loaded.

    Raises:
        ModelError: They do not fit, or their numbers are not finite.
    """
    if weights.path is None:
        raise ModelError(f"the weights of {name} are not on this disk")
    if weights.kind == "file":
        return load_weights_file(backbone, weights.path)
    state = read_state_dict(weights.path)
    if weights.kind == "package":
        return load_state_dict(backbone, with_timm_keys(state, name), weights.name)
    try:
        source = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"state_dict": state})
    except Exception:  # timm's message is of many lines, and ours counts what does not fit
        return load_state_dict(backbone, state, f"{weights.name} ({weights.path})")
    return load_state_dict(backbone, source.state_dict(), weights.name)


def load_weights_file(backbone: nn.Module, path: Path) -> str:
    """Loads a file of weights with timm's keys, or a checkpoint of ours, into a backbone.

    Returns:
        A message about what was loaded.

    Raises:
        ModelError: The file is missing, unsafe, broken, of another backbone, or its numbers are not finite.
    """
    state = read_state_dict(path)
    wrong = first_not_finite(state)
    if wrong is not None:
        raise ModelError(
            f"model.weights={path} holds numbers that are not finite (first in {wrong}): its training diverged; use"
            " other weights"
        )
    return load_state_dict(backbone, state, str(path))


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Reads tensors by name from a safetensors or torch file, without running any code in it.

    Raises:
        ModelError: The file is missing, unsafe to load, broken, or holds no weights.
    """
    if not is_file(path):
        raise ModelError(f"model.weights: {why_no_file(path, f'there is no file {path}')}")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"model.weights={path} is refused: it is not a plain file of tensors, and loading it could run code that"
            " somebody put into it; save it as safetensors"
        ) from None
    except Exception as error:  # a broken pickle can raise anything
        raise ModelError(f"model.weights={path} is truncated or not a file of weights: {first_line(error)}") from None
    for key in ("state_dict_ema", "model_ema", "state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"model.weights={path} holds no weights (tensors by name)")
    wrappers = re.compile(r"(module\.)?(_orig_mod\.)?(backbone\.)?")  # of torch, and of this package's own checkpoints
    return {wrappers.sub("", key, count=1): value for key, value in content.items() if isinstance(value, Tensor)}


def load_state_dict(backbone: nn.Module, state: dict[str, Tensor], origin: str) -> str:
    """Copies weights into a backbone; every one must fit, except for the head, which else starts at zero.

    Returns:
        A message about what was loaded.

    Raises:
        ModelError: Weights are missing, left over or of another shape.
    """
    state = _adapted(state, backbone, origin)
    own = backbone.state_dict()
    heads = {id(parameter) for parameter in head_parameters(backbone)}
    head = {name for name, parameter in backbone.named_parameters() if id(parameter) in heads}
    replaced = sorted(key for key in head if key not in state or state[key].shape != own[key].shape)
    other_heads = {f"{name}.{part}" for name in ("classifier", "fc", "head") for part in ("weight", "bias")}
    body = {key for key in own if key not in head}
    wrong = sorted(key for key in body & state.keys() if state[key].shape != own[key].shape)
    missing, unknown = sorted(body - state.keys()), sorted(state.keys() - own.keys() - head - other_heads)
    if missing or unknown or wrong:
        raise ModelError(
            f"{origin} does not fit the backbone: {len(missing)} weights missing{_example(missing)}, {len(unknown)}"
            f" unknown{_example(unknown)}, {len(wrong)} of another shape{_example(wrong)}; is model.name the right one?"
        )
    backbone.load_state_dict({key: state[key] for key in own if key in state and key not in replaced}, strict=False)
    message = f"weights from {origin}"
    if replaced:
        # a random head on trained features starts far off and sends its noise into them; zeros start at ln K
        for name, parameter in backbone.named_parameters():
            if name in replaced:
                nn.init.zeros_(parameter)
        weight = next((state[key] for key in replaced if key in state), None)
        theirs = f"its head has {weight.shape[0]} classes" if weight is not None else "it has no head"
        ours = own[replaced[0]].shape[0]
        message += f"; {theirs}, this run {ours}: the head starts from zero"
    return message


def _adapted(state: dict[str, Tensor], backbone: nn.Module, origin: str) -> dict[str, Tensor]:
    """Has timm rename old keys and resample position embeddings to this image size."""
    adapt = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    if adapt is None:
        return state
    try:
        return cast("dict[str, Tensor]", adapt(state, backbone))
    except Exception as error:  # written for weights of this backbone; others break it in many ways
        raise ModelError(
            f"{origin} does not fit the backbone ({first_line(error)[:120]}); is model.name the right one?"
        ) from None


def _example(keys: list[str]) -> str:
    return f" ({keys[0]})" if keys else ""
