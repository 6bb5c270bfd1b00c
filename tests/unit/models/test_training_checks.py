from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.training import (
    BACKBONE,
    IMAGE_SIZE,
    LIGHTNING_NOTICES,
    KillAfter,
    KilledError,
    make_loader,
    make_trainer,
)

from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.errors import ConfigError
from classifier_training.models.base import BaseClassificationModel

pytestmark = LIGHTNING_NOTICES


def fit(folder: Path, settings: dict[str, Any], **balance: Any) -> None:
    model = BaseClassificationModel(BACKBONE, 4, image_size=IMAGE_SIZE, settings=settings, **balance)
    make_trainer(folder).fit(model, make_loader(2, 4), make_loader(1, 4))


@pytest.mark.parametrize(
    ("settings", "balance", "reason"),
    [
        ({"loss": {"name": "bce"}}, {"class_counts": [1, 2, 3, 4]}, "Menon et al. 2021.*loss.name=bce"),
        ({"loss": {"name": "focal"}}, {"class_counts": [1, 2, 3, 4]}, "Menon et al. 2021.*loss.name=focal"),
        ({}, {"class_counts": [1, 0, 3, 4]}, "class 1 has 0 training images"),
        ({}, {"class_counts": [1, 2, 3]}, "class_counts has 3 numbers for 4 classes"),
        ({}, {"class_weights": [1.0]}, "class_weights has 1 numbers for 4 classes"),
        ({}, {"class_weights": [0.0, 0.0, 0.0, 0.0]}, "all of them are 0"),
        ({}, {"class_weights": [1.0, 1.0, -1.0, 1.0]}, "a weight must be a finite number ≥ 0"),
        ({}, {"class_weights": [1.0, 1.0, math.inf, 1.0]}, "a weight must be a finite number ≥ 0"),
        ({"scheduler": {"warmup_epochs": 3.0}}, {}, "warmup_epochs=3 is as long as the training"),
    ],
)
def test_what_no_training_can_do_is_refused_before_the_first_step(
    tmp_path: Path, settings: dict[str, Any], balance: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        fit(tmp_path, settings, **balance)


def test_a_training_that_was_begun_like_that_can_be_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"loss": {"name": "bce"}, "scheduler": {"warmup_epochs": 1.0}}

    def make_model() -> BaseClassificationModel:
        counts = [1, 2, 3, 4]
        return BaseClassificationModel(BACKBONE, 4, image_size=IMAGE_SIZE, settings=settings, class_counts=counts)

    data = make_loader(4, 4), make_loader(1, 4)
    begun = make_trainer(tmp_path, RunCheckpoint(tmp_path, every_n_steps=1), KillAfter(2), enable_checkpointing=True)
    monkeypatch.setattr(BaseClassificationModel, "_check_training", lambda self, max_epochs: None)
    with pytest.raises(KilledError):
        begun.fit(make_model(), *data)
    monkeypatch.undo()

    trainer = make_trainer(tmp_path, RunCheckpoint(tmp_path), enable_checkpointing=True)
    trainer.fit(make_model(), *data, ckpt_path=tmp_path / "last.ckpt", weights_only=True)

    assert trainer.global_step == 4
