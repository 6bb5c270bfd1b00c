"""No callback waits for the device within an epoch: what is read there waits until a GPU has done all before it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from tests.contract.test_callbacks import all_callbacks, make_callback
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model, make_trainer
from torch import Tensor

from classifier_training.callbacks import RunCheckpoint, SampleVisualizationCallback, TrainingProgress

pytestmark = LIGHTNING_NOTICES

READS = {
    Tensor.item, Tensor.tolist, Tensor.cpu, Tensor.numpy, Tensor.nonzero, torch.nonzero, Tensor.__array__,
    Tensor.unique, torch.unique, Tensor.masked_select, torch.masked_select, Tensor.bincount, torch.bincount,
    Tensor.__repr__, Tensor.__format__, torch.allclose, Tensor.allclose,
    Tensor.__bool__, Tensor.__float__, Tensor.__int__, Tensor.__index__, torch.equal, Tensor.equal,
}  # fmt: skip
HOOKS = (
    "on_train_batch_start", "on_train_batch_end", "on_before_zero_grad", "on_before_backward", "on_after_backward",
    "on_before_optimizer_step", "on_validation_batch_start", "on_validation_batch_end",
)  # fmt: skip
WATCHED = [kind for kind in all_callbacks() if kind is not TrainingProgress]  # that one is tested on a GPU


class OnDevice(Tensor):
    """A tensor that cannot be read while a hook works with it."""

    is_watched = False

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        to_host = func is Tensor.to and any(isinstance(value, str) and value == "cpu" for value in args[1:])
        if cls.is_watched and (func in READS or to_host):
            raise AssertionError(f"{func.__name__} waits for the device")
        parent: Any = super()
        return parent.__torch_function__(func, types, args, kwargs or {})


def watch(callback: lightning.Callback, num_allowed: int = 0) -> None:
    """Gives the hooks of each batch tensors that cannot be read, but for the first few calls."""
    for name in HOOKS:
        setattr(callback, name, watched(getattr(callback, name), num_allowed))


def watched(hook: Callable[..., object], num_allowed: int) -> Callable[..., object]:
    left = num_allowed

    @functools.wraps(hook)
    def call(trainer: Any, module: Any, *values: Any) -> object:
        nonlocal left
        left -= 1
        seen = apply_to_collection(values, Tensor, lambda value: value.detach().as_subclass(OnDevice))
        OnDevice.is_watched = left < 0
        try:
            return hook(trainer, module, *seen)
        finally:
            OnDevice.is_watched = False

    return call


@pytest.mark.parametrize("kind", WATCHED, ids=lambda kind: kind.__name__)
def test_no_step_waits_for_the_device(kind: type[lightning.Callback], tmp_path: Path) -> None:
    callback = make_callback(kind, tmp_path)
    watch(callback, num_allowed=1 if kind is SampleVisualizationCallback else 0)  # it draws the first batch
    trainer = make_trainer(tmp_path, callback, enable_checkpointing=kind is RunCheckpoint, max_epochs=2)
    trainer.fit(make_model(), make_loader(3), make_loader(2))
    assert trainer.global_step == 6


def test_a_callback_that_reads_the_loss_is_found(tmp_path: Path) -> None:
    class Reader(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            float(outputs["loss"])

    callback = Reader()
    watch(callback)
    with pytest.raises(AssertionError, match="waits for the device"):
        make_trainer(tmp_path, callback).fit(make_model(), make_loader(1), make_loader(1))
