"""How training images are resized and mixed: what the plan says of it, and whether the backbone takes their sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from classifier_training.config.schema import DataConfig, TrainerConfig
from classifier_training.data.loading.sizes import TrainingSizes
from classifier_training.errors import ConfigError, first_line
from classifier_training.types import Preprocessing


def describe_images(data: DataConfig, preprocessing: Preprocessing, trainer: TrainerConfig) -> dict[str, str]:
    """Rows of the plan about what changes over the epochs or within a batch; none where nothing does."""
    rows = {}
    sizes = TrainingSizes.of(data, preprocessing, trainer.num_epochs)
    if sizes.distinct() != [preprocessing.image_size]:
        timed = f"{', '.join(map(str, sizes.distinct()))} px, over the epochs that the time is expected to suffice for"
        rows["training images"] = timed if trainer.is_ended_by_clock else _describe_sizes(sizes, trainer.num_epochs)
    kinds = [f"mixup {data.mixup:g}"] * bool(data.mixup) + [f"CutMix {data.cutmix:g}"] * bool(data.cutmix)
    if kinds and data.batch_size == 1:
        rows["mixing"] = "none, as a batch is one image alone"
    elif kinds:
        text = " or ".join(kinds) + ("" if data.mix_prob == 1 else f", {data.mix_prob:.0%} of the batches")
        num_last = max(data.mix_off_epochs, data.final_epochs_at_test_size)
        last = "last epoch" if num_last == 1 else f"last {num_last} epochs"
        rows["mixing"] = text + (f", not in the {last}" if num_last else "")
    if data.repeated_augmentation > 1:
        rows["repeats"] = f"each image {data.repeated_augmentation} times in an epoch that samples it"
    return rows


def _describe_sizes(sizes: TrainingSizes, num_epochs: int) -> str:
    parts, before = [], None
    for epoch in range(num_epochs):
        if (size := sizes.at(epoch)) != before:
            parts.append(f"{size} px from epoch {epoch + 1}")
            before = size
    return ", ".join(parts)


def check_training_sizes(backbone: nn.Module, name: str, sizes: Sequence[int], test_size: int) -> None:
    """Makes sure that a backbone, which takes images of the test size, takes those of the training, too.

    Raises:
        ConfigError: Its input has a fixed size, or another size than it can divide.
    """
    was_training = backbone.training
    backbone.eval()
    for size in sizes:
        try:
            with torch.inference_mode():
                backbone(torch.zeros(1, 3, size, size))
        except (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError) as error:
            raise ConfigError(
                f"{name} is built for images of {test_size} px and refuses training images of {size} px"
                f" ({first_line(error)}); leave data.progressive_size and data.test_image_size out, or choose a"
                " backbone whose input size may change, such as a convolutional one"
            ) from None
    backbone.train(was_training)
