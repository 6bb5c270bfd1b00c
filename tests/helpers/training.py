"""Makers of small trainings: batches that can be learned, a model, a Trainer, photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.layer_sync import LayerSync
from lightning.pytorch.strategies import SingleDeviceStrategy
from tests.helpers.images import make_image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from classifier_training.callbacks.checkpoint import AtomicCheckpointIO, RunCheckpoint
from classifier_training.callbacks.ema import EMACallback
from classifier_training.callbacks.graceful_stop import GracefulStop
from classifier_training.callbacks.metrics_csv import MetricsCSV
from classifier_training.callbacks.throughput import Throughput
from classifier_training.config.schema import Config
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.settings import ModelSettings
from classifier_training.types import ClassificationBatch

BACKBONE = "test_resnet"  # timm's own for tests: BatchNorm, 0.4 million weights
IMAGE_SIZE = 32
NUM_CLASSES = 4

LIGHTNING_NOTICES = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used"),
    pytest.mark.filterwarnings("ignore:.*module.s. in eval mode at the start of training"),  # a frozen backbone
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable"),  # ours seeks, Lightning cannot know
    pytest.mark.filterwarnings("ignore:.*number of training batches .* is smaller than the logging interval"),
]
"""Notices of Lightning that are expected of a small training; all others fail a test."""


class ColouredNoise(Dataset[dict[str, Tensor]]):
    """Noise whose mean depends on the class, float32 (3, S, S); always the same by its index."""

    def __init__(self, num_images: int, num_classes: int = NUM_CLASSES) -> None:
        generator = torch.Generator().manual_seed(1)
        self.labels = torch.arange(num_images) % num_classes
        colours = torch.randn(num_classes, 3, 1, 1, generator=generator)
        noise = torch.randn(num_images, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
        self.images = noise + 2 * colours[self.labels]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"images": self.images[index], "labels": self.labels[index], "indices": torch.tensor(index)}


def make_loader(
    num_batches: int = 4, batch_size: int = 8, num_classes: int = NUM_CLASSES
) -> DataLoader[ClassificationBatch]:
    """Batches in a fixed order, without loader processes."""
    dataset = ColouredNoise(num_batches * batch_size, num_classes)
    return DataLoader(cast("Dataset[Any]", dataset), batch_size)


def make_config(**sections: dict[str, Any]) -> Config:
    """A configuration from whole sections; what is missing has its default."""
    return Config.model_validate(sections)


def make_model(
    backbone: str = BACKBONE, classes: int = NUM_CLASSES, *, seed: int = 0, **sections: dict[str, Any]
) -> BaseClassificationModel:
    """A model with weights by seed."""
    torch.manual_seed(seed)
    settings = ModelSettings.from_config(make_config(**sections))
    return BaseClassificationModel(backbone, classes, image_size=IMAGE_SIZE, settings=settings)


def make_trainer(folder: Path, *callbacks: lightning.Callback, **options: Any) -> lightning.Trainer:
    """A Trainer on the CPU that writes nothing by itself."""
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": folder,
        "gradient_clip_val": 1.0,
    }
    return lightning.Trainer(callbacks=list(callbacks), **{**defaults, **options})


class ConvertingStrategy(SingleDeviceStrategy):
    """One CPU that converts BatchNorm when and as a strategy of several GPUs does, and reverts it afterwards."""

    def __init__(self, layer_sync: LayerSync | None = None) -> None:
        super().__init__()
        self._layer_sync: LayerSync | None = None
        self._own = layer_sync

    def setup(self, trainer: lightning.Trainer) -> None:
        """Converts before the model is moved to its device, and before the optimizer is made."""
        self._layer_sync = self._own or self._layer_sync
        if self._layer_sync is not None and trainer.state.fn == "fit" and self.model is not None:
            self.model = self._layer_sync.apply(self.model)
        super().setup(trainer)

    def teardown(self) -> None:
        """Reverts."""
        module = self.lightning_module
        if self._layer_sync is not None and module is not None and module.trainer.state.fn == "fit":
            self.model = self._layer_sync.revert(module)
        super().teardown()


class KilledError(Exception):
    """The training ended as if its process had been killed."""


class KillAfter(lightning.Callback):
    """Ends a training after a number of batches, without the farewell that an interrupt gets."""

    def __init__(self, num_batches: int) -> None:
        self.left = num_batches

    def on_train_batch_start(self, *arguments: Any) -> None:
        """Counts down."""
        if self.left == 0:
            raise KilledError
        self.left -= 1


def make_learnable_photos(root: Path) -> Path:
    """A folder of small noisy images of two classes that differ in brightness: 24 to train on, 8 to validate on."""
    generator = np.random.default_rng(0)
    for split, num_images in (("train", 12), ("val", 4)):
        for name, colour in (("dark", 60), ("light", 120)):
            for number in range(num_images):
                pixels = (colour + generator.normal(0, 40, (36, 36, 3))).clip(0, 255).astype(np.uint8)
                make_image(root / split / name / f"{number}.png", pixels)
    return root


def fit_photos(
    folder: Path,
    photos: Path,
    *callbacks: lightning.Callback,
    every_n_steps: int | None = None,
    every_n_minutes: float | None = None,
    keep_best: int = 0,
    **options: Any,
) -> lightning.Trainer:
    """Trains on photos with everything that makes a run resumable; goes on where ``folder`` has a ``last.ckpt``.

    Three epochs of six batches, the first with a frozen backbone; with dropout, augmentation and EMA.

    Args:
        folder: Gets ``metrics.csv``, ``timings.csv`` and the checkpoints.
        photos: From `make_learnable_photos`.
        callbacks: More of them.
        every_n_steps: Of `RunCheckpoint`.
        every_n_minutes: Of `RunCheckpoint`.
        keep_best: Of `RunCheckpoint`.
        options: Of the Trainer.
    """
    data = ImageFolderDataModule(photos, batch_size=4, image_size=IMAGE_SIZE, num_workers=0, seed=3)
    model = make_model(
        classes=2,
        model={"drop_rate": 0.2, "freeze_epochs": 1, "freeze_norm_stats": False},
        optimizer={"lr": 3e-3},
    )
    run = [
        EMACallback(0.9),
        Throughput(folder / "timings.csv"),
        MetricsCSV(folder / "metrics.csv"),
        GracefulStop(),
    ]
    checkpoint = RunCheckpoint(
        folder, every_n_steps=every_n_steps, every_n_minutes=every_n_minutes, keep_best=keep_best
    )
    settings: dict[str, Any] = {"max_epochs": 3, "enable_checkpointing": True, "use_distributed_sampler": False}
    trainer = make_trainer(folder, *run, *callbacks, checkpoint, plugins=[AtomicCheckpointIO()], **settings | options)
    last = folder / "last.ckpt"
    trainer.fit(model, datamodule=data, ckpt_path=last if last.is_file() else None, weights_only=True)
    return trainer


def assert_same_run(
    folder: Path, expected: Path, names: tuple[str, ...] = ("best.ckpt", "last.ckpt", "metrics.csv")
) -> None:
    """Two runs wrote the same weights, averages, optimizer, schedule, progress and scores: the same files."""
    for name in names:
        one, other = folder / name, expected / name
        if one.read_bytes() != other.read_bytes():
            if name.endswith(".ckpt"):  # says where they differ
                assert_equal(torch.load(one, weights_only=True), torch.load(other, weights_only=True), name)
            raise AssertionError(f"{name} has other bytes")


def assert_equal(one: Any, other: Any, where: str) -> None:
    """Equality of nested plain values and tensors."""
    assert type(one) is type(other), where
    if isinstance(one, Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}, {key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{where}, {index}")
    else:
        assert one == other, where


def snapshot(module: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of a module's state."""
    return {key: value.clone() for key, value in module.state_dict().items()}


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Bit for bit."""
    assert actual.keys() == expected.keys()
    different = [key for key, value in expected.items() if not torch.equal(actual[key], value)]
    assert not different
