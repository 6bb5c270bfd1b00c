from __future__ import annotations

import io
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning
import pytest
import timm
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model, make_trainer
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import SGD, AdamW

from classifier_training.config.schema import OptimizerConfig, SchedulerConfig
from classifier_training.errors import ConfigError
from classifier_training.models import optim
from classifier_training.models.backbone import head_parameters
from classifier_training.models.optim import (
    ResumableLR,
    build_optimizer,
    build_scheduler,
    default_warmup_epochs,
    lr_factor,
    parameter_groups,
)

pytestmark = LIGHTNING_NOTICES


def groups_by_parameter(name: str, scale: float = 0.1) -> tuple[nn.Module, dict[str, dict[str, Any]]]:
    model = timm.create_model(name, num_classes=3)
    config = OptimizerConfig(lr=1.0, weight_decay=0.05)
    groups = parameter_groups(model, head_parameters(model), config, scale)
    found = {id(parameter): group for group in groups for parameter in group["params"]}
    assert len(found) == sum(len(group["params"]) for group in groups), "a parameter is in two groups"
    return model, {key: found[id(parameter)] for key, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", ["resnet10t", "test_vit", "tf_efficientnet_lite0", "convnext_atto"])
def test_norms_and_biases_get_no_weight_decay(name: str) -> None:
    model, groups = groups_by_parameter(name)
    norms = {
        f"{path}.{key}"
        for path, module in model.named_modules()
        if "norm" in type(module).__name__.lower()
        for key, _ in module.named_parameters(recurse=False)
    }
    assert norms
    decayed = {key for key, group in groups.items() if group["weight_decay"] > 0}
    assert not decayed & norms
    assert not [key for key in decayed if key.endswith("bias")]
    modules = dict(model.named_modules())
    weights = {f"{path}.weight" for path, module in modules.items() if isinstance(module, nn.Linear | nn.Conv2d)}
    assert weights <= decayed


def test_what_the_backbone_excludes_gets_no_weight_decay() -> None:
    _, groups = groups_by_parameter("vit_tiny_patch16_224")
    assert groups["pos_embed"]["weight_decay"] == 0.0
    assert groups["cls_token"]["weight_decay"] == 0.0


@pytest.mark.parametrize(("name", "head"), [("resnet10t", "fc"), ("vit_tiny_patch16_224", "head")])
def test_the_head_learns_faster_than_the_backbone(name: str, head: str) -> None:
    _, groups = groups_by_parameter(name, scale=0.1)
    rates = {key: group["lr"] for key, group in groups.items()}
    assert {key for key, rate in rates.items() if rate == 1.0} == {f"{head}.weight", f"{head}.bias"}
    assert {rate for key, rate in rates.items() if not key.startswith(f"{head}.")} == {0.1}


def test_both_heads_of_a_distilled_model_are_heads() -> None:
    _, groups = groups_by_parameter("deit_tiny_distilled_patch16_224")
    fast = {key for key, group in groups.items() if group["lr"] == 1.0}
    assert fast == {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}


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


def test_the_learning_rate_rises_linearly_then_falls_as_a_cosine() -> None:
    factors = [lr_factor(step, total_steps=30, warmup_steps=9, min_lr_ratio=0.1) for step in range(31)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert max(factors) == factors[9] == 1.0
    assert factors[30] == pytest.approx(0.1)
    cosine = [0.1 + 0.9 * (1 + math.cos(math.pi * step / 21)) / 2 for step in range(22)]
    assert factors[9:] == pytest.approx(cosine)


def test_the_learning_rate_can_stay() -> None:
    factors = [lr_factor(step, total_steps=6, warmup_steps=1, min_lr_ratio=0.1, cosine=False) for step in range(7)]
    assert factors == [0.5, 1, 1, 1, 1, 1, 1]


def test_the_learning_rate_ends_at_its_minimum_and_stays_there() -> None:
    for step in (20, 21, 1000):
        assert lr_factor(step, total_steps=20, warmup_steps=2, min_lr_ratio=0.0) == pytest.approx(0.0)


class LearningRates(lightning.Callback):
    """The learning rate that every optimizer step was made with."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_schedule_counts_optimizer_steps(tmp_path: Path, accumulate: int) -> None:
    model = make_model(optimizer={"lr": 1.0}, scheduler={"warmup_epochs": 1.0, "min_lr_ratio": 0.1})
    seen = LearningRates()
    trainer = make_trainer(tmp_path, seen, max_epochs=3, accumulate_grad_batches=accumulate)
    trainer.fit(model, make_loader(4, 2), make_loader(1, 4))
    per_epoch = 4 // accumulate
    total = 3 * per_epoch
    options: Any = {"total_steps": total, "warmup_steps": per_epoch, "min_lr_ratio": 0.1}
    assert seen.rates == pytest.approx([lr_factor(step, **options) for step in range(total)])


@pytest.mark.parametrize("warmup", [1.0, 1.5, 100.0])
def test_a_warmup_as_long_as_the_training_is_refused(tmp_path: Path, warmup: float) -> None:
    model = make_model(scheduler={"warmup_epochs": warmup})
    with pytest.raises(ConfigError, match=f"warmup_epochs={warmup:g} is as long as the training, trainer.max_epochs=1"):
        make_trainer(tmp_path).fit(model, make_loader(4, 2), make_loader(1, 4))


def test_a_warmup_that_nobody_set_takes_half_of_a_single_epoch(tmp_path: Path) -> None:
    seen = LearningRates()
    make_trainer(tmp_path, seen).fit(make_model(optimizer={"lr": 1.0}), make_loader(6, 2), make_loader(1, 4))
    assert seen.rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert max(seen.rates[4:]) < 1.0
    assert [default_warmup_epochs(epochs) for epochs in (1, 2, 3, 20)] == [0.5, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("options", [{"max_steps": 6, "max_epochs": None}, {"max_steps": 6, "max_epochs": 9}])
def test_a_training_that_is_measured_in_steps_has_its_schedule(tmp_path: Path, options: dict[str, Any]) -> None:
    seen = LearningRates()
    model = make_model(optimizer={"lr": 1.0}, scheduler={"warmup_epochs": 0.5})
    make_trainer(tmp_path, seen, **options).fit(model, make_loader(4, 2), make_loader(1, 4))
    schedule: Any = {"total_steps": 6, "warmup_steps": 2, "min_lr_ratio": 0.01}
    assert seen.rates == pytest.approx([lr_factor(step, **schedule) for step in range(6)])


def test_a_training_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give the Trainer max_epochs or max_steps"):
        make_trainer(tmp_path, max_epochs=-1).fit(make_model(), make_loader(4, 2), make_loader(1, 4))


# -- another number of epochs ------------------------------------------------------------------------------------


def schedule_of(total_steps: int, *, name: Any = "cosine", warmup: float | None = 2) -> tuple[SGD, ResumableLR]:
    """Ten steps an epoch; the peak is 0.5."""
    optimizer = SGD(one_group(), lr=0.5)
    config = SchedulerConfig(name=name, warmup_epochs=warmup, min_lr_ratio=0.1)
    return optimizer, build_scheduler(optimizer, config, total_steps=total_steps, max_epochs=total_steps / 10)


def run_on(optimizer: SGD, scheduler: ResumableLR, until: int) -> list[float]:
    """The rates of the steps from the present one."""
    rates = []
    while scheduler.last_epoch < until:
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return [*rates, float(optimizer.param_groups[0]["lr"])]


def resume(before: tuple[SGD, ResumableLR], total_steps: int, **options: Any) -> tuple[SGD, ResumableLR]:
    optimizer, scheduler = schedule_of(total_steps, **options)
    optimizer.load_state_dict(before[0].state_dict())
    state = before[1].state_dict()
    torch.save(state, file := io.BytesIO())
    file.seek(0)
    scheduler.load_state_dict(torch.load(file, weights_only=True))
    return optimizer, scheduler


@pytest.mark.parametrize(("at", "total"), [(60, 200), (100, 200), (60, 80), (20, 200), (21, 500)])
def test_a_resumed_training_of_another_length_goes_on_from_its_learning_rate(at: int, total: int) -> None:
    before = schedule_of(100)
    present = run_on(*before, at)[-1]

    rates = run_on(*resume(before, total), total)

    assert rates[0] == present
    assert rates[-1] == pytest.approx(0.05)
    share = [0.5 * (1 + math.cos(math.pi * step / (total - at))) for step in range(total - at + 1)]
    assert rates == pytest.approx([0.05 + (present - 0.05) * part for part in share])


def test_a_warmup_that_is_resumed_goes_on_to_the_new_end() -> None:
    before = schedule_of(100)
    run_on(*before, 10)
    assert run_on(*resume(before, 200), 200) == pytest.approx(run_on(*schedule_of(200), 200)[10:])


def test_a_learning_rate_that_stays_stays() -> None:
    before = schedule_of(100, name="constant")
    run_on(*before, 100)
    assert set(run_on(*resume(before, 200, name="constant"), 200)) == {0.5}


def test_an_extended_training_that_is_killed_ends_as_if_it_had_not_been() -> None:
    before = schedule_of(100)
    run_on(*before, 60)
    whole = run_on(*resume(before, 200), 200)
    halfway = resume(before, 200)
    first = run_on(*halfway, 90)
    assert first[:-1] + run_on(*resume(halfway, 200), 200) == whole


def test_a_training_that_is_extended_twice_goes_on_each_time() -> None:
    before = schedule_of(100)
    run_on(*before, 60)
    once = resume(before, 200)
    present = run_on(*once, 130)[-1]
    rates = run_on(*resume(once, 300), 300)
    assert rates[0] == present
    assert max(rates) == present
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(("total", "jumps"), [(100, False), (200, True)])
def test_a_checkpoint_of_an_earlier_version_holds_the_rates_alone(total: int, jumps: bool) -> None:
    before = schedule_of(100)
    present = run_on(*before, 60)[-1]
    state = before[1].state_dict()
    state["lr_lambdas"] = [None]
    optimizer, scheduler = schedule_of(total)
    optimizer.load_state_dict(before[0].state_dict())
    scheduler.load_state_dict(state)
    rates = run_on(optimizer, scheduler, total)
    assert rates[0] == present
    assert present * 0.95 < rates[1] < present
    if not jumps:
        assert rates == run_on(*schedule_of(100), 100)[60:]


def test_a_warmup_keeps_its_steps_where_none_was_set() -> None:
    before = schedule_of(10, warmup=None)
    run_on(*before, 3)

    rates = run_on(*resume(before, 40, warmup=None), 40)

    assert rates[:3] == pytest.approx([0.5 * step / 6 for step in (4, 5, 6)])  # half an epoch, as it began
    assert rates[3:] == sorted(rates[3:], reverse=True)


def test_a_warmup_ends_before_a_shorter_training() -> None:
    before = schedule_of(100, warmup=2)
    run_on(*before, 4)

    scheduler = resume(before, 10, warmup=2)[1]

    assert run_on(scheduler.optimizer, scheduler, 10)[-1] < 0.5  # type: ignore[arg-type]  # it is the SGD of above
