from __future__ import annotations

import io
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest
import timm.optim
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model, make_trainer
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import SGD, AdamW

from classifier_training.config.schema import OptimizerConfig
from classifier_training.errors import ConfigError
from classifier_training.models import optim
from classifier_training.models.optim import build_optimizer, check_optimizer

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


# -- any optimizer of timm -----------------------------------------------------------------------------------------


def names_that_work() -> list[str]:
    found = []
    for name in cast("Any", timm.optim).list_optimizers():
        try:
            check_optimizer(OptimizerConfig(name=name))
        except ConfigError:
            continue
        found.append(name)
    return found


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4))


def run_steps(network: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        images = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), torch.arange(4)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def optimizer_of(network: nn.Module, name: str) -> torch.optim.Optimizer:
    decayed = [value for value in network.parameters() if value.ndim > 1]
    others = [value for value in network.parameters() if value.ndim <= 1]
    groups = [
        {"params": decayed, "lr": 1e-2, "weight_decay": 0.05, "name": "decayed"},
        {"params": others, "lr": 1e-3, "weight_decay": 0.0, "name": "others"},
    ]
    return build_optimizer(groups, OptimizerConfig(name=name, lr=1e-2))


def test_most_optimizers_of_timm_work() -> None:
    assert {"adamw", "sgd", "lamb", "lion", "nadamw", "adan", "radam", "rmsprop", "lars"} <= set(names_that_work())


@pytest.mark.parametrize("name", names_that_work())
def test_every_optimizer_that_is_taken_goes_on_to_the_bit(name: str) -> None:
    whole = small_network()
    run_steps(whole, optimizer_of(whole, name), range(4))
    first = small_network()
    optimizer = optimizer_of(first, name)
    run_steps(first, optimizer, range(2))
    torch.save([first.state_dict(), optimizer.state_dict()], file := io.BytesIO())
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    resumed = small_network()
    resumed.load_state_dict(weights)
    optimizer = optimizer_of(resumed, name)
    optimizer.load_state_dict(state)
    run_steps(resumed, optimizer, range(2, 4))
    before = small_network().state_dict()
    for key, value in resumed.state_dict().items():
        assert torch.equal(value, whole.state_dict()[key])
        assert not torch.equal(value, before[key])


def test_what_is_set_reaches_the_optimizer() -> None:
    def group_of(**settings: Any) -> dict[str, Any]:
        return build_optimizer(one_group(), OptimizerConfig.model_validate(settings)).param_groups[0]

    lamb = group_of(name="LAMB", lr=0.1, betas=[0.8, 0.9], eps=1e-5)
    assert (lamb["betas"], lamb["eps"], lamb["lr"]) == ((0.8, 0.9), 1e-5, 0.5)  # the rate of the group
    assert group_of(name="adamw", betas=[0.8, 0.9], eps=1e-5)["betas"] == (0.8, 0.9)
    assert group_of(name="adamw", eps=1e-5)["eps"] == 1e-5
    assert group_of(name="sgd", nesterov=False)["nesterov"] is False
    assert group_of(name="sgdp", momentum=0.7)["momentum"] == 0.7
    assert group_of(name="adan")["betas"] == (0.98, 0.92, 0.99)


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({"name": "lamp"}, ["optimizer.name='lamp' is not an optimizer of timm; did you mean lamb, lambw, lambc?"]),
        ({"name": "zzz"}, ["optimizer.name='zzz' is not an optimizer of timm; timm.optim.list_optimizers() lists"]),
        ({"name": "adahessian"}, ["optimizer.name=adahessian needs second derivatives"]),
        ({"name": "kronw"}, ["optimizer.name=kronw: kron keeps random numbers that no checkpoint holds"]),
        (
            {"name": "lookahead_adamw"},
            ["optimizer.name=lookahead_adamw: lookahead does not let others count its steps"],
        ),
        ({"name": "fusedlamb"}, ["optimizer.name=fusedlamb needs NVIDIA's Apex, which is not installed"]),
        (
            {"name": "lion", "eps": 1e-8, "nesterov": True, "momentum": 0.8},
            [
                "optimizer.eps=1e-08: lion has none; leave it out",
                "optimizer.nesterov=true: lion has none; leave it out",
                "optimizer.momentum=0.8: lion has none; set optimizer.betas",
            ],
        ),
        ({"name": "sgd", "betas": [0.9, 0.9]}, ["optimizer.betas=[0.9, 0.9]: sgd has none; leave it out"]),
        ({"name": "adan", "betas": [0.9, 0.9]}, ["optimizer.betas=[0.9, 0.9]: adan takes 3 numbers"]),
    ],
)
def test_all_that_an_optimizer_cannot_do_is_named(settings: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        build_optimizer(one_group(), OptimizerConfig.model_validate(settings))
    found = str(caught.value).split("\n")
    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"betas": [0.8, 0.9], "momentum": 0.7}, "momentum, betas: two values of beta1"),
        ({"name": "sgd", "nesterov": True, "momentum": 0.0}, "nesterov, momentum: Nesterov's momentum needs"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimizerConfig.model_validate(settings)
