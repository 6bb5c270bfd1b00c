from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from tests.helpers.photos import make_split_photos

from classifier_training.config import load_config
from classifier_training.models.backbone import backbone_stages
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.model import build_model
from classifier_training.training.plain_steps import PlainSteps
from classifier_training.training.plan import make_plan
from classifier_training.types import ClassificationBatch


def test_stages_that_the_training_never_moves_are_not_moved(tmp_path: Path) -> None:
    photos, silent = make_split_photos(tmp_path, train=3, val=2, test=1), Terminal(silent=True)
    words = [f"data.root={photos}", "model.name=test_resnet", "model.pretrained=false", "trainer.accelerator=cpu"]
    plan = make_plan(load_config([*words, "optimizer.lr=0.1"]), silent)
    settings = plan.config.model.model_copy(update={"freeze_stages": 2})  # which needs weights to begin with
    plan = replace(plan, config=plan.config.model_copy(update={"model": settings}))
    model = build_model(plan, silent)
    before = [[value.detach().clone() for value in stage] for stage in backbone_stages(model.backbone)]

    batch = ClassificationBatch(
        images=torch.randn(4, 3, 32, 32), labels=torch.arange(4) % model.num_classes, indices=torch.arange(4)
    )
    PlainSteps(plan, model, torch.device("cpu"), plan.config.optimizer).step([batch])

    stages = zip(before, backbone_stages(model.backbone), strict=True)
    moved = [any(not torch.equal(old, new) for old, new in zip(*stage, strict=True)) for stage in stages]
    assert moved == [False, False, True, True, True]
    assert not model.backbone.get_submodule("layer1").training
    assert model.backbone.get_submodule("layer2").training
