"""How large a model is, and how long it takes for one image on this machine."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from classifier_training.errors import ClassifierTrainingError
from classifier_training.exporters.cpu_copy import cpu_copy
from classifier_training.models.backbone import backbone_stages, head_parameters
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.settings import ModelSettings
from classifier_training.run.model_info import Latency, ModelInfo
from classifier_training.run.records import write_record
from classifier_training.terminal.terminal import Terminal
from classifier_training.warn import warn_instead_of_raise

NUM_REPEATS: Final = 50
MIN_REPEATS: Final = 10
"""Fewer are made of a model that takes so long that these would take ``_LONGEST_SECONDS``."""
_NUM_WARM_UPS: Final = 3
_USUAL_SECONDS: Final = 0.2
_LONGEST_SECONDS: Final = 3.0


class ModelInfoCallback(lightning.Callback):
    """Writes parameters, FLOPs, size and measured latency of a model, once, before it is trained.

    Measured is a float32 copy of the model in evaluation mode, one image at a time, on the device that trains. FLOPs
    are counted by torch, two for a multiplication and an addition; where it does not know an operator, or the model
    cannot be copied, they are None. A module that is not ours is counted, and measured if its trainer's data module
    or the module itself has a ``preprocessing`` of this package, which holds the image size.

    Args:
        path: A JSON file; where it is of the same model already, nothing is measured again.
        terminal: Where messages go; None: nowhere.
    """

    def __init__(self, path: str | Path, terminal: Terminal | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        self.terminal = terminal

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Measures, on the first rank only."""
        if not trainer.is_global_zero or self._is_of(pl_module):
            return
        with warn_instead_of_raise(self.path.name), isolate_rng():
            info = _describe(trainer, pl_module)
            write_record(self.path, info)
            if self.terminal is not None:
                self.terminal.info(_sentence(info))

    def _is_of(self, pl_module: lightning.LightningModule) -> bool:
        """Whether the file is of that model: a resumed run's is, and a folder may be used twice."""
        try:
            known = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        about = {"model": _name(pl_module), "num_parameters": _count(_network(pl_module).parameters())}
        return isinstance(known, dict) and all(known.get(key) == value for key, value in about.items())


def _network(pl_module: lightning.LightningModule) -> nn.Module:
    return pl_module.backbone if isinstance(pl_module, BaseClassificationModel) else pl_module


def _describe(trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> ModelInfo:
    model = _network(pl_module)
    parameters = list(model.parameters())
    side = _image_size(trainer, pl_module)
    # what the first epochs train, where that is less than the later ones do
    settings = pl_module.settings if isinstance(pl_module, BaseClassificationModel) else ModelSettings()
    freeze_epochs = settings.freeze_epochs
    frozen = {id(value) for stage in backbone_stages(model)[: settings.freeze_stages] for value in stage}
    trainable = _count(value for value in parameters if value.requires_grad and id(value) not in frozen)
    if freeze_epochs >= (trainer.max_epochs or freeze_epochs + 1):  # as in a probe
        freeze_epochs, trainable = 0, _count(head_parameters(model))
    flops, latency = (None, None) if side is None else _measure(model, side, trainer.strategy.root_device)
    return ModelInfo(
        model=_name(pl_module),
        input=None if side is None else (3, side, side),
        num_parameters=_count(parameters),
        num_trainable_parameters=trainable,
        freeze_epochs=freeze_epochs or None,
        num_trainable_parameters_while_frozen=_count(head_parameters(model)) if freeze_epochs else None,
        size_bytes=sum(value.nbytes for value in model.state_dict().values() if isinstance(value, Tensor)),
        flops=flops,
        latency=latency,
    )


def _measure(model: nn.Module, side: int, device: torch.device) -> tuple[int | None, Latency | None]:
    """FLOPs and latency of one image; None of what cannot be had."""
    try:
        copied = cpu_copy(model)
    except ClassifierTrainingError:  # a module that is not ours may hold what cannot be copied
        return None, None
    image = torch.zeros(1, 3, side, side)
    with torch.inference_mode():
        flops = _flops(copied, image)
        if _is_channels_last(model):
            copied = copied.to(memory_format=torch.channels_last)
            image = image.contiguous(memory_format=torch.channels_last)
        return flops, _latency(copied.to(device), image.to(device))


def _flops(model: nn.Module, image: Tensor) -> int | None:
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            model(image)
    except Exception:  # an operator that torch cannot count, or a module that wants something else than images
        return None
    return int(counter.get_total_flops()) or None


def _latency(model: nn.Module, image: Tensor) -> Latency | None:
    kind = image.device.type
    synchronize = partial(torch.cuda.synchronize, image.device)
    waits: dict[str, Callable[[], object]] = {"cuda": synchronize, "mps": torch.mps.synchronize}
    wait = waits.get(kind, lambda: None)
    milliseconds: list[float] = []
    try:
        for _ in range(_NUM_WARM_UPS):
            model(image)
        wait()
        began = time.perf_counter()
        while len(milliseconds) < NUM_REPEATS:
            started = time.perf_counter()
            model(image)
            wait()
            ended = time.perf_counter()
            milliseconds.append(1000 * (ended - started))
            if ended - began > (_USUAL_SECONDS if len(milliseconds) >= MIN_REPEATS else _LONGEST_SECONDS):
                break
    except Exception:  # as above
        return None
    return Latency(
        device=torch.cuda.get_device_name(image.device) if kind == "cuda" else kind,
        batch_size=1,
        min_ms=round(min(milliseconds), 4),
        median_ms=round(statistics.median(milliseconds), 4),
        p95_ms=round(float(np.percentile(milliseconds, 95)), 4),
        repeats=len(milliseconds),
    )


def _image_size(trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> int | None:
    for owner in (pl_module, getattr(trainer, "datamodule", None)):
        side = getattr(getattr(owner, "preprocessing", None), "image_size", None)
        if isinstance(side, int):
            return side
    return None


def _is_channels_last(model: nn.Module) -> bool:
    weights = [value for value in model.parameters() if value.ndim == 4 and value.shape[1] > 1]
    return any(
        value.is_contiguous(memory_format=torch.channels_last) and not value.is_contiguous() for value in weights
    )


def _name(pl_module: lightning.LightningModule) -> str:
    if isinstance(pl_module, BaseClassificationModel):
        return str(pl_module.hparams["backbone"])
    return type(pl_module).__name__


def _count(parameters: Any) -> int:
    return sum(value.numel() for value in parameters)


def _sentence(info: ModelInfo) -> str:
    trainable = _millions(info.num_trainable_parameters)
    frozen = info.num_trainable_parameters_while_frozen
    if frozen is not None:
        epochs = "epoch" if info.freeze_epochs == 1 else f"{info.freeze_epochs} epochs"
        trainable = f"{_millions(frozen)} trainable in the first {epochs}, then {trainable}"
    else:
        trainable += " trainable"
    parts = [
        f"{info.model}: {_millions(info.num_parameters)} parameters ({trainable})",
        f"{info.size_bytes / 1e6:.1f} MB",
    ]
    if info.flops is not None:
        parts.append(f"{info.flops / 1e9:.2f} GFLOPs per image")
    if info.latency is not None:
        parts.append(f"{info.latency.shortest_ms:.3g} ms an image on {info.latency.device}")
    return ", ".join(parts)


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 10_000 else str(count)
