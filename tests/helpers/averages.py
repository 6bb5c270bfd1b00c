"""A small model, and the average of its weights by the formula, for tests of `EMACallback`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import lightning.pytorch as pl
import pytest
import torch
from tests.helpers.training import snapshot
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

State = dict[str, Tensor]

EMA_NOTICES = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used"),
    pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable"),
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*is deprecated:FutureWarning"),
]
"""What Lightning says of such a training is no concern of these tests."""


class Classifier(pl.LightningModule):
    """A linear layer, BatchNorm and a tied head; a test may look on at every step."""

    mask: Tensor

    def __init__(self, seed: int = 0, num_features: int = 4) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(num_features, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4))
        self.net[3].weight = self.net[0].weight
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        self.on_step: Callable[[str], None] = lambda stage: None

    @property
    def weight(self) -> Tensor:
        return cast("nn.Linear", self.net[0]).weight

    def forward(self, images: Tensor) -> Tensor:
        return cast("Tensor", self.net(images))

    def loss(self, batch: list[Tensor]) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        self.on_step("train")
        return self.loss(batch)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.on_step("val")
        self.log("val/loss", self.loss(batch))

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.on_step("test")
        self.log("test/loss", self.loss(batch))

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.forward(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.05)


class Reference(pl.Callback):
    """The weights after every optimizer step, counted by Lightning, and the average of them by its formula."""

    def __init__(self, decay: float, warmup_steps: int = 0) -> None:
        self.decay, self.warmup_steps = decay, warmup_steps
        self.average: State = {}
        self.steps = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.average = snapshot(pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        if trainer.global_step == self.steps:
            return
        self.steps = trainer.global_step
        t = self.steps - self.warmup_steps
        decay = min(self.decay, (1 + t) / (10 + t)) if t >= 1 else 0.0
        for key, weight in snapshot(pl_module).items():
            average = self.average[key]
            averaged = weight.is_floating_point() and key != "mask"
            self.average[key] = decay * average + (1 - decay) * weight if averaged else weight


class Recorder(pl.Callback):
    """Keeps a copy of the weights as of the last training batch."""

    def __init__(self) -> None:
        self.weights: State = {}

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        self.weights = snapshot(pl_module)


def floating(state: State) -> State:
    """Only what can be averaged."""
    return {key: value for key, value in state.items() if value.is_floating_point()}


def differs(one: State, other: State) -> bool:
    """Whether any value does."""
    return any(not torch.equal(one[key], other[key]) for key in one)


def loader(num_samples: int = 24, num_features: int = 4) -> DataLoader[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(num_samples, num_features, generator=generator)
    return DataLoader(TensorDataset(images, torch.arange(num_samples) % 4), batch_size=4)
