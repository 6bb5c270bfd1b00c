"""The gradient of every optimizer step is the mean over the batches that it really has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model, make_trainer
from torch import Tensor

from classifier_training.callbacks.progress import TrainingProgress
from classifier_training.callbacks.throughput import Throughput
from classifier_training.terminal.terminal import Terminal

pytestmark = LIGHTNING_NOTICES
KEY = "fc.weight"


class Gradients(lightning.Callback):
    """The gradient of the head at each optimizer step."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        self.seen.append(pl_module.backbone.get_parameter(KEY).grad.clone())


def gradients(folder: Path, num_batches: int, num_accumulated: int, *callbacks: lightning.Callback) -> list[Tensor]:
    """Of an epoch in which the weights do not move."""
    model = make_model(optimizer={"lr": 1e-30, "name": "sgd"}, model={"freeze_norm_stats": True})
    seen = Gradients()
    trainer = make_trainer(folder, seen, *callbacks, accumulate_grad_batches=num_accumulated, gradient_clip_val=None)
    trainer.fit(model, make_loader(num_batches), make_loader(1))
    return seen.seen


@pytest.mark.parametrize(("num_batches", "num_accumulated"), [(5, 3), (4, 3), (2, 3), (6, 3), (5, 1)])
def test_the_last_step_of_an_epoch_has_the_mean_of_its_batches(
    tmp_path: Path, num_batches: int, num_accumulated: int
) -> None:
    alone = gradients(tmp_path, num_batches, 1)
    together = gradients(tmp_path, num_batches, num_accumulated)
    windows = [alone[start : start + num_accumulated] for start in range(0, num_batches, num_accumulated)]
    for found, batches in zip(together, windows, strict=True):
        torch.testing.assert_close(found, torch.stack(batches).mean(dim=0))


def test_the_loss_that_is_shown_is_that_of_the_batch(tmp_path: Path) -> None:
    progress = TrainingProgress(Terminal(quiet=True), Throughput())
    gradients(tmp_path, 4, 3, progress)
    last = progress._loss.value
    again = TrainingProgress(Terminal(quiet=True), Throughput())
    gradients(tmp_path, 4, 1, again)
    assert last == pytest.approx(again._loss.value, rel=1e-5)
