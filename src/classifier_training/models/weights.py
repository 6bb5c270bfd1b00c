"""Starting weights: timm's pretrained ones, or a file. Nothing is ever unpickled beyond tensors."""

from __future__ import annotations

import contextlib
import logging
import pickle
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from classifier_training.errors import ModelError, first_line
from classifier_training.files.text import is_file, why_no_file
from classifier_training.models.backbone import head_parameters
from classifier_training.models.finite import first_not_finite
from classifier_training.models.packaged_weights import (
    PACKAGES,
    describe_package,
    packaged_weights,
    with_timm_keys,
)

HUB_TIMEOUT_SECONDS = 5.0


def load_pretrained(backbone: nn.Module, name: str) -> str:
    """Loads pretrained weights into a backbone; the head is kept only if the number of classes fits.

    Those of an installed package come first, then timm's from the hub's cache on this disk, then from the hub.

    Returns:
        A message about what was loaded.

    Raises:
        ModelError: There are none for this backbone, they do not fit, or are neither on disk nor reachable.
    """
    packaged = packaged_weights(name)
    if packaged is not None:
        state = with_timm_keys(read_state_dict(packaged), name)
        return load_state_dict(backbone, state, f"{describe_package(name)} (ImageNet)")
    config = timm.models.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise ModelError(f"timm has no pretrained weights for {name}; use model.weights=FILE or model.pretrained=false")
    try:
        with _hub_without_retries_when_offline():
            source = timm.create_model(name, pretrained=True)
    except Exception as error:  # the hub client raises many unrelated types for "not reachable"
        is_offline = type(error).__name__ in {"LocalEntryNotFoundError", "OfflineModeIsEnabled"}
        reason = "the hub is out of reach" if is_offline else first_line(error)[:120]
        raise ModelError(
            f"pretrained weights of {name} are not on this disk and cannot be downloaded ({reason}); go online once,"
            f" {_package_hint(name)}or give a local file with model.weights=FILE (safetensors), or train from scratch"
            " with model.pretrained=false"
        ) from None
    return load_state_dict(backbone, source.state_dict(), f"timm's pretrained {name}")


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


def _package_hint(name: str) -> str:
    return f"or install the package {PACKAGES[name]} (extra weights), " if name in PACKAGES else ""


def _example(keys: list[str]) -> str:
    return f" ({keys[0]})" if keys else ""


@contextlib.contextmanager
def _hub_without_retries_when_offline() -> Iterator[None]:
    """Uses the hub's cache alone when the hub cannot be reached, instead of a minute of retries."""
    from huggingface_hub import constants

    was_offline, loggers = constants.HF_HUB_OFFLINE, [logging.getLogger(name) for name in ("huggingface_hub", "timm")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    constants.HF_HUB_OFFLINE = was_offline or not _reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = was_offline
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _reachable(address: str) -> bool:
    """Whether something listens at an address, or at the proxy that leads there."""
    parts = urlsplit(address)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    if proxy is not None:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=HUB_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False
