from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model, make_trainer
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import SGD, AdamW

from classifier_training.config.schema import OptimizerConfig
from classifier_training.models import optim
from classifier_training.models.optim import build_optimizer

pytestmark = LIGHTNING_NOTICES


def test_adamw_is_built_as_configured() -> None:
    adamw = build_optimizer(one_group(), OptimizerConfig(name="adamw", momentum=0.8))
    assert isinstance(adamw, AdamW)
    assert adamw.param_groups[0]["betas"] == (0.8, 0.999)
    assert adamw.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_sgd_is_built_as_configured(momentum: float) -> None:
    sgd = build_optimizer(one_group(), OptimizerConfig(name="sgd", momentum=momentum))
    assert isinstance(sgd, SGD)
    group = sgd.param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"]) == (0.5, momentum, momentum > 0)


def one_group() -> list[dict[str, Any]]:
    return [{"params": [nn.Parameter(torch.ones(2))], "lr": 0.5}]


@pytest.mark.parametrize(
    ("device", "is_mixed", "fused"),
    [("cuda", False, True), ("cuda", True, True), ("cpu", False, True), ("cpu", True, None), ("meta", False, None)],
)
def test_the_fused_kernel_is_taken_where_there_is_one(device: str, is_mixed: bool, fused: bool | None) -> None:
    """On a GPU that is made up: torch decides by the device of the parameters."""
    with FakeTensorMode() if device == "cuda" else nullcontext():
        groups: list[dict[str, Any]] = [{"params": [nn.Parameter(torch.ones(2, device=device))], "lr": 0.5}]
        optimizer = build_optimizer(groups, OptimizerConfig(name="adamw"), is_mixed=is_mixed)
    assert optimizer.param_groups[0]["fused"] is fused


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_fused_updates_are_clipped_in_mixed_precision_as_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """As on a GPU; 16-mixed with the scaler that a GPU has."""
    states = []
    for fused in (True, None):
        monkeypatch.setattr(optim, "_is_fused", lambda _, is_mixed, fused=fused: fused)
        model = make_model(optimizer={"lr": 1e-2, "name": "adamw"})
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0) if precision == "16-mixed" else None
        plugin = MixedPrecision(precision, "cpu", scaler)  # type: ignore[arg-type]  # one of the two
        plugin.autocast_context_manager = lambda: torch.autocast("cpu", torch.bfloat16)  # type: ignore[method-assign]
        trainer = make_trainer(tmp_path, gradient_clip_val=0.01, plugins=[plugin])
        trainer.fit(model, make_loader(3), make_loader(1))
        assert trainer.optimizers[0].param_groups[0]["fused"] is fused
        states.append(dict(model.named_parameters()))
    torch.testing.assert_close(states[0], states[1], rtol=1e-4, atol=1e-5)
