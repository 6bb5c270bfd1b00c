"""Makers of small trainings: batches that can be learned, a model, a Trainer, photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import pytest
import torch
from tests.helpers.images import make_image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from classifier_training.config.schema import Config
from classifier_training.models.base import BaseClassificationModel
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
    return BaseClassificationModel(backbone, classes, image_size=IMAGE_SIZE, config=make_config(**sections))


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


def make_photos(
    root: Path, num_classes: int = 2, per_class: int = 12, splits: tuple[str, ...] = ("train", "val")
) -> Path:
    """A folder of small noisy pictures whose colour tells the class."""
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 200, (num_classes, 3))
    for split in splits:
        for label in range(num_classes):
            for number in range(per_class):
                pixels = (colours[label] + generator.integers(0, 56, (36, 36, 3))).astype(np.uint8)
                make_image(root / split / f"class{label}" / f"{number}.png", pixels)
    return root


def snapshot(module: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of a module's state."""
    return {key: value.clone() for key, value in module.state_dict().items()}


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Bit for bit."""
    assert actual.keys() == expected.keys()
    different = [key for key, value in expected.items() if not torch.equal(actual[key], value)]
    assert not different
