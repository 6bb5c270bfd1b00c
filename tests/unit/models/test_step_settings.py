"""Whatever a step is made of, a training that is resumed gets the same bits as one that was not interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tests.helpers.training import (
    LIGHTNING_NOTICES,
    assert_equal,
    assert_same,
    make_loader,
    make_model,
    make_trainer,
    snapshot,
)

from classifier_training.callbacks.adaptive_clipping import AdaptiveGradientClipping
from classifier_training.callbacks.ema import EMACallback
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.distillation import Distillation

pytestmark = LIGHTNING_NOTICES

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lamb": (
        {
            "optimizer": {"name": "lamb", "layer_decay": 0.7},
            "scheduler": {"name": "one_cycle"},
            "model": {"freeze_epochs": 1},
        },
        {"accumulate_grad_batches": 2},
    ),
    "muon": (
        {"optimizer": {"name": "nmuon", "layer_decay": 0.9}, "scheduler": {"name": "cosine_restarts"}},
        {"precision": "bf16-mixed"},
    ),
    "plateau": (
        {"optimizer": {"name": "lion", "lr": 1e-4}, "scheduler": {"name": "plateau", "plateau_patience": 1}},
        {"gradient_clip_algorithm": "value"},
    ),
    "sam": (
        {
            "optimizer": {"name": "sgd", "sam_rho": 0.1, "momentum": 0.8, "nesterov": False},
            "scheduler": {"name": "step", "warmup_epochs": 0.0},
            "model": {"drop_rate": 0.2, "grad_checkpointing": True},
        },
        {"precision": "bf16-mixed", "accumulate_grad_batches": 2},
    ),
    "agc": (
        {"optimizer": {"name": "adan", "sam_rho": 0.1}, "scheduler": {"name": "poly"}},
        {"gradient_clip_val": None},
    ),
    "teacher": (
        {
            "optimizer": {"name": "sgd", "layer_decay": 0.8, "sam_rho": 0.1},
            "distill": {"teacher": "another model"},
            "model": {"drop_rate": 0.2},
        },
        {"precision": "bf16-mixed", "accumulate_grad_batches": 2},
    ),
}


class SaveAt(lightning.Callback):
    """Saves a checkpoint after the first of the epochs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_training_has_the_bits_of_an_uninterrupted_one(tmp_path: Path, case: str) -> None:
    sections, options = CASES[case]
    path = tmp_path / "first.ckpt"

    def fit(*callbacks: lightning.Callback, checkpoint: Path | None = None) -> tuple[Any, BaseClassificationModel]:
        model = make_model(**sections)
        if "distill" in sections:
            model.distillation = Distillation(make_model(seed=1), model.classes, model.preprocessing)
        clipping = [AdaptiveGradientClipping(0.02)] if options.get("gradient_clip_val", 1.0) is None else []
        trainer = make_trainer(tmp_path, EMACallback(0.9), *clipping, *callbacks, max_epochs=3, **options)
        trainer.fit(model, make_loader(4), make_loader(1), ckpt_path=checkpoint, weights_only=True)
        return trainer, model

    whole, expected = fit(SaveAt(path))
    resumed, model = fit(checkpoint=path)

    assert_same(snapshot(model), snapshot(expected))
    assert_equal(resumed.optimizers[0].state_dict(), whole.optimizers[0].state_dict(), "optimizer")
    schedules = [trainer.lr_scheduler_configs[0].scheduler.state_dict() for trainer in (resumed, whole)]
    assert_equal(schedules[0], schedules[1], "schedule")
    assert not all(torch.equal(a, b) for a, b in zip(model.parameters(), make_model().parameters(), strict=True))
