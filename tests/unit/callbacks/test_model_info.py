from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.training import (
    BACKBONE,
    IMAGE_SIZE,
    LIGHTNING_NOTICES,
    fit_photos,
    make_loader,
    make_model,
    make_trainer,
    snapshot,
)
from torch import Tensor, nn

from classifier_training.callbacks import model_info
from classifier_training.callbacks.model_info import MIN_REPEATS, NUM_REPEATS, ModelInfoCallback
from classifier_training.models.backbone import backbone_stages
from classifier_training.models.base import BaseClassificationModel
from classifier_training.terminal.terminal import Terminal

pytestmark = LIGHTNING_NOTICES


def fit(folder: Path, model: Any, terminal: Terminal | None = None, max_epochs: int = 1) -> dict[str, Any]:
    callback = ModelInfoCallback(folder / "model_info.json", terminal)
    trainer = make_trainer(folder, callback, limit_train_batches=1, limit_val_batches=0, max_epochs=max_epochs)
    trainer.fit(model, make_loader(1), make_loader(1))
    info: dict[str, Any] = json.loads((folder / "model_info.json").read_text())
    return info


class Net(nn.Module):
    """One convolution and one linear layer, whose cost can be counted by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.conv(images).mean((2, 3)))  # type: ignore[no-any-return]

    def get_classifier(self) -> nn.Module:
        return self.head


def with_net(net: nn.Module, **model_settings: Any) -> BaseClassificationModel:
    model = make_model(model=model_settings)
    model.backbone = net
    return model


def test_it_counts_what_can_be_counted_by_hand(tmp_path: Path) -> None:
    info = fit(tmp_path, with_net(Net()))

    num_weights = 3 * 8 * 9 + 8 * 4 + 4
    assert info["input"] == [3, IMAGE_SIZE, IMAGE_SIZE]
    assert (info["num_parameters"], info["num_trainable_parameters"]) == (num_weights, num_weights)
    assert info["size_bytes"] == 4 * num_weights
    assert info["flops"] == 2 * (IMAGE_SIZE**2 * 3 * 8 * 9 + 8 * 4)
    assert info["num_trainable_parameters_while_frozen"] is None


def test_it_measures_one_image_at_a_time(tmp_path: Path) -> None:
    latency = fit(tmp_path, make_model())["latency"]
    assert (latency["device"], latency["batch_size"]) == ("cpu", 1)
    assert 0 < latency["min_ms"] <= latency["median_ms"] <= latency["p95_ms"]
    assert 1 <= latency["repeats"] <= NUM_REPEATS


def test_a_slow_model_is_not_measured_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_info, "_USUAL_SECONDS", 0.0)
    assert fit(tmp_path, make_model())["latency"]["repeats"] == MIN_REPEATS
    monkeypatch.setattr(model_info, "_LONGEST_SECONDS", 0.0)
    (tmp_path / "model_info.json").unlink()
    assert fit(tmp_path, make_model())["latency"]["repeats"] == 1


def test_what_is_frozen_for_some_epochs_is_counted_separately(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = fit(tmp_path, with_net(Net(), freeze_epochs=2), Terminal(), max_epochs=3)

    assert info["num_trainable_parameters"] == info["num_parameters"] == 252
    assert info["num_trainable_parameters_while_frozen"] == 36
    assert f"{BACKBONE}: 252 parameters (36 trainable in the first 2 epochs, then 252)" in capsys.readouterr().out


def test_a_backbone_that_is_never_trained_is_not_counted_as_trainable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = fit(tmp_path, with_net(Net(), freeze_epochs=1), Terminal())

    assert (info["num_trainable_parameters"], info["num_trainable_parameters_while_frozen"]) == (36, None)
    assert f"{BACKBONE}: 252 parameters (36 trainable)" in capsys.readouterr().out


def test_stages_that_are_never_trained_are_not_counted_as_trainable(tmp_path: Path) -> None:
    model = make_model(model={"freeze_stages": 1})
    info = fit(tmp_path, model, Terminal())
    stem = sum(value.numel() for value in backbone_stages(model.backbone)[0])
    assert info["num_trainable_parameters"] == info["num_parameters"] - stem


def test_it_is_printed_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = fit(tmp_path, make_model(), Terminal())
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{BACKBONE}: {info['num_parameters'] / 1e6:.2f} M parameters (")
    assert "GFLOPs per image" in line
    assert line.endswith("ms an image on cpu")


class Odd(Net):
    """Uses an operator on data that is not there where only shapes are counted."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            raise NotImplementedError("an operator that nobody knows")
        return super().forward(images)


class Closed(Net):
    """Cannot be copied."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Closed:
        raise TypeError("cannot be copied")


@pytest.mark.parametrize("net", [Odd, Closed])
def test_what_cannot_be_had_is_none(tmp_path: Path, net: type[Net], capsys: pytest.CaptureFixture[str]) -> None:
    info = fit(tmp_path, with_net(net()), Terminal())
    assert (info["flops"], info["latency"]) == (None, None)
    assert info["num_parameters"] == 252
    assert "FLOPs" not in capsys.readouterr().out


def test_a_resumed_run_is_not_measured_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = fit(tmp_path, make_model())
    edited = {**first, "latency": None}
    (tmp_path / "model_info.json").write_text(json.dumps(edited))
    assert fit(tmp_path, make_model(), Terminal()) == edited
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"model": "test_resnet", "num_parameters": 7}'])
def test_what_is_of_another_model_is_measured_again(tmp_path: Path, content: str) -> None:
    (tmp_path / "model_info.json").write_text(content)
    assert fit(tmp_path, make_model())["num_parameters"] > 1000


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_model_and_random_numbers_stay_as_they_are(tmp_path: Path, channels_last: bool) -> None:
    model = make_model(model={"channels_last": channels_last, "drop_rate": 0.5})
    trainer = make_trainer(tmp_path)
    trainer.strategy.connect(model)
    model.use_memory_format()
    before, state = snapshot(model), torch.get_rng_state()
    strides = [value.stride() for value in model.parameters()]

    ModelInfoCallback(tmp_path / "model_info.json").on_fit_start(trainer, model)

    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [value.stride() for value in model.parameters()] == strides
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(value.requires_grad and value.grad is None for value in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_run_is_the_same_with_it(tmp_path: Path, photos: Path, uninterrupted: Path) -> None:
    fit_photos(tmp_path, photos, ModelInfoCallback(tmp_path / "model_info.json"), max_epochs=3)
    assert (tmp_path / "metrics.csv").read_bytes() == (uninterrupted / "metrics.csv").read_bytes()
    best = [torch.load(folder / "best.ckpt", weights_only=True)["state_dict"] for folder in (tmp_path, uninterrupted)]
    assert all(torch.equal(value, best[1][name]) for name, value in best[0].items())
