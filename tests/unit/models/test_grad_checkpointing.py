from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from tests.helpers.training import LIGHTNING_NOTICES, assert_same, make_loader, make_model, make_trainer, snapshot

from classifier_training.errors import ModelError
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.grad_checkpointing import check_grad_checkpointing

pytestmark = LIGHTNING_NOTICES


def trained(folder: Path, backbone: str, **sections: Any) -> tuple[BaseClassificationModel, int]:
    """A model after two epochs, and how often a layer in its middle ran in training."""
    model, calls = make_model(backbone, **sections), []
    layers = [layer for layer in model.backbone.modules() if isinstance(layer, torch.nn.Conv2d)]
    layers[len(layers) // 2].register_forward_hook(lambda module, *_: calls.append(1) if module.training else None)
    make_trainer(folder, max_epochs=2).fit(model, make_loader(2), make_loader(1))
    return model, len(calls)


@pytest.mark.parametrize(
    ("backbone", "sections"),
    [
        ("test_resnet", {"model": {"drop_rate": 0.2, "drop_path_rate": 0.2, "freeze_epochs": 1}}),
        ("test_convnext", {"optimizer": {"sam_rho": 0.05}, "model": {"drop_path_rate": 0.2}}),
        ("test_resnet", {"optimizer": {"sam_rho": 0.05}, "model": {"drop_rate": 0.2}}),
    ],
)
def test_it_changes_no_bit_of_what_is_trained(tmp_path: Path, backbone: str, sections: dict[str, Any]) -> None:
    settings = sections.get("model", {})
    plain, num_plain = trained(tmp_path, backbone, **sections)
    checkpointed, num_calls = trained(
        tmp_path, backbone, **{**sections, "model": {**settings, "grad_checkpointing": True}}
    )
    assert num_calls > num_plain, "nothing was computed again"
    assert_same(snapshot(checkpointed), snapshot(plain))
    assert not [module for module in checkpointed.modules() if getattr(module, "grad_checkpointing", False)]


def test_a_model_that_is_loaded_has_it_switched_off() -> None:
    model = make_model(model={"grad_checkpointing": True})
    assert model.settings.grad_checkpointing
    assert not [module for module in model.modules() if getattr(module, "grad_checkpointing", False)]


def test_a_backbone_without_it_is_named() -> None:
    backbone = timm.create_model("dla34")
    with pytest.raises(
        ModelError, match=r"model\.grad_checkpointing=true: dla34 has no gradient checkpointing in timm"
    ):
        check_grad_checkpointing(backbone, "dla34")
