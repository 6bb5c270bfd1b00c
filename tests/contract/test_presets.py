"""What every preset keeps to: its backbone is built, learns, and is rebuilt from what a checkpoint holds."""

from __future__ import annotations

import pytest
import torch

from classifier_training.config import load_config
from classifier_training.config.preset_groups import PRESETS, backbone_presets, preset_names
from classifier_training.models.backbone import head_parameters
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.optim import build_optimizer
from classifier_training.models.parameter_groups import parameter_groups
from classifier_training.models.settings import ModelSettings

IMAGE_SIZE = 64  # smaller than the backbones' own, for speed; every patch and stride divides it
each = pytest.mark.parametrize("name", backbone_presets())


def make_model(name: str) -> BaseClassificationModel:
    torch.manual_seed(0)
    config = load_config([f"model={name}"])
    settings = ModelSettings.from_config(config)
    return BaseClassificationModel(config.model.name, ["cat", "dog", "owl"], image_size=IMAGE_SIZE, settings=settings)


def test_the_table_has_every_file() -> None:
    assert sorted(path.stem for path in (PRESETS / "model").glob("*.yaml")) == sorted(preset_names("model"))


@each
def test_a_step_with_its_settings_moves_every_weight(name: str) -> None:
    model = make_model(name)
    settings = model.settings.optimizer
    groups = parameter_groups(model.backbone, head_parameters(model.backbone), settings, 1.0)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    optimizer = build_optimizer(groups, settings)
    before = {key: value.clone() for key, value in model.named_parameters()}
    images = torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE)
    labels = torch.tensor([0, 2])
    for _ in range(2):  # a layer that starts at zero keeps the gradient from what lies below it in the first step
        optimizer.zero_grad()
        loss = model.training_step({"images": images, "labels": labels, "indices": labels}, 0)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert bool(loss.isfinite())
    still = [key for key, value in model.named_parameters() if torch.equal(value, before[key])]
    assert not still


@each
def test_it_is_rebuilt_from_its_hyperparameters(name: str) -> None:
    model = make_model(name).eval()
    again = BaseClassificationModel(**dict(model.hparams)).eval()
    again.load_state_dict(model.state_dict())
    images = torch.randn(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    with torch.inference_mode():
        assert torch.equal(again(images), model(images))
    assert again.settings == model.settings
