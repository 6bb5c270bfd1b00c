from __future__ import annotations

import pytest
from pydantic import ValidationError

from classifier_training.config.schema import DataConfig, ModelConfig


def test_a_contradiction_is_refused_without_load_config_too() -> None:
    with pytest.raises(ValidationError, match="val_fraction, test_fraction: leave no photo for training"):
        DataConfig(val_fraction=0.5, test_fraction=0.5)
    with pytest.raises(ValidationError, match="pretrained, weights: two sources of weights"):
        ModelConfig(pretrained=True, weights="a.safetensors")


def test_all_contradictions_of_a_section_are_named() -> None:
    with pytest.raises(ValidationError, match=r"train_scale: must rise.*train_ratio: must rise"):
        DataConfig(train_scale=(1.0, 0.5), train_ratio=(2.0, 1.0))
