"""What a step is made of does the same on several devices as on one."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.cli import WarmProgram
from tests.helpers.ranks import gloo, run_ranks
from tests.helpers.training import ColouredNoise, make_model, make_trainer
from torch.utils.data import DataLoader, Subset

from classifier_training.callbacks.adaptive_clipping import AdaptiveGradientClipping


def fit_two_batches_a_step(folder: Path, world_size: int) -> dict[str, Any]:
    """Steps of two batches: one on each of two ranks, or two on one whose gradients are added up."""
    model = make_model(
        optimizer={"name": "sgd", "lr": 0.1, "sam_rho": 0.2, "layer_decay": 0.8},
        scheduler={"name": "linear", "warmup_epochs": 0.0},
        model={"grad_checkpointing": True},
    )
    trainer = make_trainer(
        folder,
        AdaptiveGradientClipping(0.05),
        strategy=gloo(),
        devices=world_size,
        accumulate_grad_batches=2 // world_size,
        max_epochs=2,
        limit_val_batches=0,
        gradient_clip_val=None,
        use_distributed_sampler=False,
    )
    shares = [[*range(rank, 8, 2), *range(8 + rank, 16, 2)] for rank in (0, 1)]
    alone = [index for step in (0, 4) for share in shares for index in share[step : step + 4]]
    images: Any = Subset(ColouredNoise(16), alone if world_size == 1 else shares[trainer.global_rank])
    trainer.fit(model, DataLoader(images, 4))
    weights = torch.cat([value.detach().flatten() for value in model.parameters()])
    return {
        "steps": trainer.global_step,
        "digest": zlib.crc32(weights.numpy().tobytes()),
        "sample": weights[::997].tolist(),
    }


def test_a_step_of_two_ranks_is_that_of_two_batches(program: WarmProgram, tmp_path: Path) -> None:
    first, second = run_ranks(program, fit_two_batches_a_step, 2, tmp_path / "two")
    (alone,) = run_ranks(program, fit_two_batches_a_step, 1, tmp_path / "one")
    assert first["digest"] == second["digest"]
    assert first["steps"] == alone["steps"] == 4
    assert first["sample"] == pytest.approx(alone["sample"], abs=1e-5)
    start = torch.cat([value.detach().flatten() for value in make_model().parameters()])[::997]
    assert float((torch.tensor(alone["sample"]) - start).abs().max()) > 1e-3
