from __future__ import annotations

import pytest
import torch
from torch import nn

from classifier_training.models.backbone import create_backbone
from classifier_training.models.batch_of_one import batch_of_one


@pytest.mark.parametrize(
    ("name", "size", "outcome"),
    [
        ("resnet10t", 32, "refused"),
        ("resnet10t", 64, "poor"),
        ("test_vit", 160, "fine"),
        ("test_efficientnet", 32, "refused"),
    ],
)
def test_it_is_what_pytorch_does(name: str, size: int, outcome: str) -> None:
    backbone = create_backbone(name, 2, size).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}

    assert batch_of_one(backbone, size) == outcome

    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert backbone.training
    if outcome == "refused":
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            backbone(torch.zeros(1, 3, size, size))
    else:
        assert backbone(torch.zeros(1, 3, size, size)).shape == (1, 2)


def test_a_backbone_whose_shapes_need_its_values() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.norm(images) if images.sum().item() >= 0 else images

    assert batch_of_one(Odd(), 8) == "poor"
