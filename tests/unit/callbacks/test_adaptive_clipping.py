from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model, make_trainer
from torch import Tensor

from classifier_training.callbacks.adaptive_clipping import AdaptiveGradientClipping
from classifier_training.config.schema import TrainerConfig
from classifier_training.errors import ConfigError

pytestmark = LIGHTNING_NOTICES


class Gradients(lightning.Callback):
    """Gradients before the step, by name."""

    def __init__(self) -> None:
        self.seen: dict[str, Tensor] = {}

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.seen = {name: value.grad.clone() for name, value in pl_module.named_parameters()}


def unit_norms(value: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(value.flatten(1) if value.ndim > 1 else value[None], dim=1)
    return norms


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_gradient_of_a_unit_is_at_most_a_share_of_its_weights(tmp_path: Path, precision: str) -> None:
    model, before, after = make_model(), Gradients(), Gradients()
    weights = {name: value.detach().clone() for name, value in model.named_parameters()}
    options: dict[str, Any] = {"gradient_clip_val": None, "accumulate_grad_batches": 2, "precision": precision}
    trainer = make_trainer(tmp_path, before, AdaptiveGradientClipping(0.02), after, **options)
    trainer.fit(model, make_loader(2), make_loader(1))
    clipped = 0
    for name, value in weights.items():
        if name.startswith("backbone.fc"):
            assert torch.equal(after.seen[name], before.seen[name])
            continue
        norms, limits = unit_norms(before.seen[name]), 0.02 * unit_norms(value).clamp(min=1e-3)
        clipped += int((norms > limits).sum())
        torch.testing.assert_close(unit_norms(after.seen[name]), torch.minimum(norms, limits))
    assert clipped


def test_a_factor_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="factor must be above 0"):
        AdaptiveGradientClipping(0.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gradient_clip_algorithm": "agc"}, "agc limits a gradient to a share .* above 0 and below 1, such as 0.02"),
        ({"gradient_clip_algorithm": "agc", "gradient_clip_val": None}, "agc limits"),
        ({"gradient_clip_algorithm": "value", "gradient_clip_val": None}, "no limit to clip at"),
    ],
)
def test_a_limit_that_is_none_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"gradient_clip_val, gradient_clip_algorithm: {message}"):
        TrainerConfig.model_validate(settings)
