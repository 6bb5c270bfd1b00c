from __future__ import annotations

from typing import Any

import pytest
import timm
import torch

from classifier_training.config.schema import DataConfig, TrainerConfig
from classifier_training.errors import ConfigError
from classifier_training.training.images import check_training_sizes, describe_images
from classifier_training.types import Preprocessing


@pytest.mark.parametrize(("settings", "trainer", "rows"), [
    ({}, {}, {}),
    (
        {"image_size": 128, "progressive_size": 0.5, "test_image_size": 160, "final_epochs_at_test_size": 1},
        {"max_epochs": 5},
        {"training images": "64 px from epoch 1, 96 px from epoch 2, 128 px from epoch 4, 160 px from epoch 5"},
    ),
    (
        {"image_size": 160, "progressive_size": 0.5},
        {"time_limit": "10m"},
        {"training images": "96, 128, 160 px, over the epochs that the time is expected to suffice for"},
    ),
    ({"mixup": 0.2}, {}, {"mixing": "mixup 0.2"}),
    ({"mixup": 0.2, "batch_size": 1}, {}, {"mixing": "none, as a batch is one image alone"}),
    (
        {"mixup": 0.2, "cutmix": 1.0, "mix_prob": 0.5, "mix_off_epochs": 1},
        {},
        {"mixing": "mixup 0.2 or CutMix 1, 50% of the batches, not in the last epoch"},
    ),
    ({"repeated_augmentation": 3}, {}, {"repeats": "each image 3 times in an epoch that samples it"}),
])  # fmt: skip
def test_the_plan_says_what_changes(settings: dict[str, Any], trainer: dict[str, Any], rows: dict[str, str]) -> None:
    preprocessing = Preprocessing(image_size=160)

    assert describe_images(DataConfig(**settings), preprocessing, TrainerConfig(**trainer)) == rows


def test_a_backbone_of_fixed_size_is_refused_by_name_and_left_as_it_is() -> None:
    fixed, free = timm.create_model("vit_tiny_patch16_224", img_size=32), timm.create_model("test_resnet")
    before = {name: value.clone() for name, value in free.state_dict().items()}

    check_training_sizes(free, "test_resnet", [64, 96], 160)
    check_training_sizes(fixed, "vit_tiny_patch16_224", [], 32)
    with pytest.raises(ConfigError, match="vit_tiny_patch16_224 is built for images of 32 px"):
        check_training_sizes(fixed, "vit_tiny_patch16_224", [16], 32)

    assert all(torch.equal(value, before[name]) for name, value in free.state_dict().items())
    assert free.training
