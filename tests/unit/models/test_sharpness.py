from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import lightning
import pytest
import torch
from tests.helpers.training import LIGHTNING_NOTICES, assert_same, make_loader, make_model, make_trainer, snapshot
from torch import Tensor, nn
from torch.utils.data import DataLoader

from classifier_training.config.schema import OptimizerConfig
from classifier_training.errors import ConfigError
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.distillation import Distillation
from classifier_training.models.optim import check_optimizer

pytestmark = LIGHTNING_NOTICES
RHO, LR = 0.5, 0.1


def sgd_model(**optimizer: Any) -> BaseClassificationModel:
    settings = {"name": "sgd", "lr": LR, "momentum": 0.0, "weight_decay": 0.0, "sam_rho": RHO, **optimizer}
    return make_model(optimizer=settings, scheduler={"name": "constant", "warmup_epochs": 0.0})


def gradients(model: BaseClassificationModel, batch: dict[str, Tensor], precision: str) -> list[Tensor]:
    """Of a plain pass, which changes nothing of the model."""
    copied = copy.deepcopy(model).train()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        logits = copied.backbone(batch["images"].contiguous(memory_format=torch.channels_last)).float()
        loss = nn.functional.cross_entropy(logits, batch["labels"], label_smoothing=0.1)
    return list(torch.autograd.grad(loss, list(copied.parameters())))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("num_batches", [1, 2])
def test_a_step_is_made_with_the_gradients_uphill(tmp_path: Path, precision: str, num_batches: int) -> None:
    model = sgd_model()
    before, batches = copy.deepcopy(model), list(make_loader(num_batches))
    mean = [torch.zeros_like(value) for value in before.parameters()]
    for batch in batches:
        uphill = copy.deepcopy(before)
        found = gradients(before, batch, precision)
        norm = torch.sqrt(torch.stack([value.square().sum() for value in found]).sum())
        for value, gradient in zip(uphill.parameters(), found, strict=True):
            value.data += RHO * gradient / norm
        for total, part in zip(mean, gradients(uphill, batch, precision), strict=True):
            total += part / num_batches

    options: dict[str, Any] = {"gradient_clip_val": None, "accumulate_grad_batches": num_batches}
    make_trainer(tmp_path, precision=precision, **options).fit(model, make_loader(num_batches), make_loader(1))

    def joined(values: Iterable[Tensor]) -> Tensor:
        return torch.cat([value.detach().flatten() for value in values])

    made, step = joined(model.parameters()) - joined(before.parameters()), -LR * joined(mean)
    tolerance = 1e-3 if precision == "32-true" else 0.1
    assert float((made - step).norm() / step.norm()) < tolerance
    plain = -LR * joined(gradients(before, batches[0], precision))
    assert float((made - plain).norm() / step.norm()) > 3 * tolerance, "this is an ordinary step"


def test_the_second_pass_is_counted_neither_by_batch_norm_nor_by_the_loss(tmp_path: Path) -> None:
    def buffers_and_loss(rho: float | None) -> tuple[dict[str, Tensor], Tensor]:
        model = sgd_model(sam_rho=rho)
        trainer = make_trainer(tmp_path)
        trainer.fit(model, make_loader(1), make_loader(1))
        return {name: value.clone() for name, value in model.backbone.named_buffers()}, trainer.callback_metrics[
            "train/loss"
        ]

    sharp, plain = buffers_and_loss(RHO), buffers_and_loss(None)
    assert_same(sharp[0], plain[0])
    assert sharp[1] == plain[1]


class Interrupt(lightning.Callback):
    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        raise RuntimeError("in the middle of a step")


def test_a_step_that_is_interrupted_leaves_the_weights_as_they_were(tmp_path: Path) -> None:
    model = sgd_model()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    with pytest.raises(RuntimeError, match="in the middle"):
        make_trainer(tmp_path, Interrupt()).fit(model, make_loader(1), make_loader(1))
    assert_same(dict(model.named_parameters()), before)


def test_a_frozen_backbone_is_not_moved(tmp_path: Path) -> None:
    model = make_model(optimizer={"sam_rho": RHO}, model={"freeze_epochs": 1})
    before = snapshot(model)
    make_trainer(tmp_path).fit(model, make_loader(2), make_loader(1))
    assert {name for name, value in snapshot(model).items() if not torch.equal(value, before[name])} == {
        "backbone.fc.weight",
        "backbone.fc.bias",
    }


def test_a_teacher_counts_uphill_too(tmp_path: Path) -> None:
    """With its whole weight the labels do not matter, in neither of the passes."""

    def trained(shift: int) -> dict[str, Tensor]:
        model, teacher = sgd_model(), make_model(seed=5)
        model.distillation = Distillation(teacher, model.classes, model.preprocessing, weight=1.0)
        batches = [{**batch, "labels": (batch["labels"] + shift) % 4} for batch in make_loader(2)]
        make_trainer(tmp_path).fit(model, DataLoader(cast("Any", batches), batch_size=None), make_loader(1))
        return snapshot(model.backbone)

    assert_same(trained(0), trained(1))


def test_infinite_gradients_of_half_precision_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.sam_rho=0\.05 does not work with trainer\.precision=16-mixed"):
        check_optimizer(OptimizerConfig(sam_rho=0.05), "16-mixed")
