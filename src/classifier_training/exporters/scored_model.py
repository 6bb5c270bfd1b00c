"""Finds the best weights of a finished trainer, in any set-up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import cast

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from classifier_training.errors import ClassifierTrainingError
from classifier_training.exporters.cpu_copy import cpu_copy

Weights = Mapping[str, Tensor]


def scored_model(trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> tuple[nn.Module, str]:
    """Copies the module with the weights that scored best.

    Those are in the best checkpoint, which holds the averaged weights if they are what was validated; without one,
    the average of an `EMACallback`; without that, the module's own. Weights that cannot be used are named in a warning.

    Args:
        trainer: Has finished ``fit``.
        pl_module: Its module; not changed.

    Returns:
        The copy, on the CPU and in evaluation mode, and a description of its weights.

    Raises:
        ExportError: The module cannot be copied.
    """
    for name, read in _candidates(trainer):
        try:
            model = cpu_copy(pl_module, read())
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            rank_zero_warn(f"{name} cannot be exported, trying the next best weights: {reason}")
        else:
            rank_zero_info(f"exporting {name}")
            return model, name
    name = "the module's current weights"
    rank_zero_info(f"exporting {name}")
    return cpu_copy(pl_module), name


def _candidates(trainer: lightning.Trainer) -> Iterator[tuple[str, Callable[[], Weights]]]:
    """Names and readers of the weights, the best first."""
    # A checkpoint callback that monitors nothing calls its latest file the best.
    for callback in sorted(trainer.checkpoint_callbacks, key=lambda one: getattr(one, "monitor", None) is None):
        path = str(getattr(callback, "best_model_path", "") or "")
        if path and Path(path).exists():
            yield f"the best checkpoint {path}", partial(_read_checkpoint, path)
    for callback in getattr(trainer, "callbacks", []):
        if "ema_state_dict" in dir(callback):
            yield f"the average of {type(callback).__name__}", partial(_read_average, callback)


def _read_average(callback: lightning.Callback) -> Weights:
    try:
        average = getattr(callback, "ema_state_dict", None)
    except ClassifierTrainingError as error:
        raise ValueError(str(error)) from error
    if not isinstance(average, Mapping):
        raise ValueError("its ema_state_dict holds no weights")  # noqa: TRY004 - caught like every unusable file
    return average


def _read_checkpoint(path: str) -> Weights:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # refused pickles, truncated archives and sharded folders all raise differently
        raise ValueError(f"it cannot be loaded with weights_only=True: {error}") from error
    weights = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not weights:
        raise ValueError("it has no state_dict")
    return cast("Weights", weights)
