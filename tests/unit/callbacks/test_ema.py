"""EMACallback through a real Trainer, compared with the formula written out step by step."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from tests.helpers.averages import EMA_NOTICES, Classifier, Reference, State, differs, loader
from tests.helpers.training import assert_same, snapshot
from torch import Tensor, nn

from classifier_training.callbacks.ema import EMACallback
from classifier_training.errors import ClassifierTrainingError, ConfigError

pytestmark = EMA_NOTICES


# -- the average -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan"), True, "0.9"])
def test_refuses_decay_out_of_range(decay: Any) -> None:
    with pytest.raises(ConfigError, match="decay must be a number"):
        EMACallback(decay=decay)


@pytest.mark.parametrize("warmup_steps", [-1, 1.5, True, None])
def test_refuses_warmup_steps_out_of_range(warmup_steps: Any) -> None:
    with pytest.raises(ConfigError, match="warmup_steps must be a whole number"):
        EMACallback(warmup_steps=warmup_steps)


@pytest.mark.parametrize("accumulate", [1, 3, 4])
@pytest.mark.parametrize(("decay", "warmup_steps"), [(0.9999, 0), (0.3, 0), (0.9, 3)])
def test_average_is_the_formula(
    make_trainer: Callable[..., pl.Trainer], accumulate: int, decay: float, warmup_steps: int
) -> None:
    ema, reference = EMACallback(decay, warmup_steps), Reference(decay, warmup_steps)
    model = Classifier().double()
    trainer = make_trainer(
        ema, reference, accumulate_grad_batches=accumulate, precision="64-true", val_check_interval=2
    )
    trainer.fit(model, loader(), loader(8))
    assert list(ema.ema_state_dict) == list(model.state_dict())
    torch.testing.assert_close(ema.ema_state_dict, reference.average, rtol=1e-12, atol=1e-14)
    assert differs(ema.ema_state_dict, model.state_dict())
    assert ema.state_dict() == {"num_steps": reference.steps}


def test_average_follows_weights_during_warmup(make_trainer: Callable[..., pl.Trainer]) -> None:
    ema, model = EMACallback(warmup_steps=12), Classifier()
    make_trainer(ema).fit(model, loader())
    assert_same(ema.ema_state_dict, snapshot(model))


def test_tied_weight_is_averaged_once_and_unaveraged_state_is_the_models(
    make_trainer: Callable[..., pl.Trainer],
) -> None:
    ema, model = EMACallback(), Classifier()
    make_trainer(ema).fit(model, loader())
    state = ema.ema_state_dict
    assert torch.equal(state["net.0.weight"], state["net.3.weight"])
    assert state["net.1.num_batches_tracked"] == 12
    assert state["mask"].tolist() == [0.0, -torch.inf]
    assert "scratch" not in state


def test_weights_are_found_again_after_being_replaced(make_trainer: Callable[..., pl.Trainer]) -> None:
    class Replacing(Classifier):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            norm = cast("nn.BatchNorm1d", self.net[1])
            norm.running_mean = cast("Tensor", norm.running_mean).clone()
            self.weight.data = self.weight.data.clone()

    ema, reference = EMACallback(0.5), Reference(0.5)
    make_trainer(ema, reference).fit(Replacing(), loader(), loader(8))
    torch.testing.assert_close(ema.ema_state_dict, reference.average)


def test_module_without_weights(make_trainer: Callable[..., pl.Trainer]) -> None:
    class Weightless(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential()
            del self.mask
            self.automatic_optimization = False

        def configure_optimizers(self) -> None:  # type: ignore[override]  # a module that has nothing to optimise
            return None

    ema = EMACallback()
    with pytest.warns(UserWarning, match="configure_optimizers"):
        make_trainer(ema).fit(Weightless(), loader(), loader(8))
    assert ema.ema_state_dict == {}


def test_complex_weights_are_averaged(make_trainer: Callable[..., pl.Trainer]) -> None:
    class Complex(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.phase = nn.Parameter(torch.randn(4, dtype=torch.complex64))

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) + (self.phase * self.phase).real

    ema, model = EMACallback(0.5, warmup_steps=0), Complex()
    start = model.phase.detach().clone()
    make_trainer(ema, max_steps=1).fit(model, loader())
    expected = 2 / 11 * start + 9 / 11 * model.phase.detach()
    torch.testing.assert_close(ema.ema_state_dict["phase"], expected)


def test_bfloat16_weights_are_averaged_in_float32(make_trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    """A step of 1 - decay is below bfloat16's resolution: an average of that type would never move."""

    def average(trainer_options: dict[str, Any], resume: Path | None = None) -> State:
        ema = EMACallback(0.9999, warmup_steps=1)
        trainer = make_trainer(ema, precision="bf16-true", **trainer_options)
        trainer.fit(Classifier(), loader(), ckpt_path=resume, weights_only=True if resume else None)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        precise: State = torch.load(tmp_path / "last.ckpt", weights_only=True)["ema_float32"]
        assert {value.dtype for value in precise.values()} == {torch.float32}
        assert {v.dtype for v in ema.ema_state_dict.values() if v.is_floating_point()} == {torch.bfloat16}
        return {key: value.clone() for key, value in precise.items()}

    whole = average({"max_epochs": 4})
    average({"max_epochs": 2})
    assert_same(average({"max_epochs": 4}, resume=tmp_path / "last.ckpt"), whole)


def test_copy_of_average_is_not_the_average(make_trainer: Callable[..., pl.Trainer]) -> None:
    ema = EMACallback()
    make_trainer(ema).fit(Classifier(), loader())
    before = copy.deepcopy(ema.ema_state_dict)
    ema.ema_state_dict["net.0.weight"].zero_()
    assert_same(ema.ema_state_dict, before)


def test_no_average_before_fit() -> None:
    with pytest.raises(ClassifierTrainingError, match=r"starts with trainer\.fit"):
        _ = EMACallback().ema_state_dict


def test_callback_pickles_and_restores_its_count() -> None:
    ema = EMACallback(0.5, 3)
    ema.load_state_dict({"num_steps": 7})
    other: EMACallback = pickle.loads(pickle.dumps(ema))  # noqa: S301 - our own bytes
    assert (other.decay, other.warmup_steps, other.state_dict()) == (0.5, 3, {"num_steps": 7})


# -- what counts as a step ---------------------------------------------------------------------------------------


class ScaledManually(Classifier):
    """Manual optimization with a gradient scaler; the gradients of some batches are infinite."""

    def __init__(self, infinite: set[int], **optimizer_options: Any) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.infinite = infinite
        self.optimizer_options = optimizer_options
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:  # type: ignore[override]  # manual
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        optimizer.zero_grad()
        loss = self.loss(batch) * (torch.inf if batch_idx in self.infinite else 1.0)
        self.manual_backward(self.scaler.scale(loss))
        self.scaler.step(optimizer)
        self.scaler.update()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.05, **self.optimizer_options)


@pytest.mark.parametrize("fused", [False, True])
def test_step_skipped_by_the_scaler_does_not_count(make_trainer: Callable[..., pl.Trainer], fused: bool) -> None:
    ema = EMACallback()
    make_trainer(ema, max_epochs=1).fit(ScaledManually({0, 2}, fused=fused), loader())
    assert ema.state_dict() == {"num_steps": 4}


def test_automatic_mixed_precision_with_scaler(make_trainer: Callable[..., pl.Trainer]) -> None:
    class Overflowing(Classifier):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            return self.loss(batch) * (torch.inf if batch_idx == 0 else 1.0)

    ema = EMACallback()
    plugin = pl.plugins.MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0))
    trainer = make_trainer(ema, max_epochs=1, plugins=[plugin])
    trainer.fit(Overflowing(), loader())
    assert (trainer.global_step, ema.state_dict()) == (6, {"num_steps": 5})


def test_batch_with_two_optimizers_counts_once(make_trainer: Callable[..., pl.Trainer]) -> None:
    class Adversarial(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: list[Tensor], batch_idx: int) -> None:  # type: ignore[override]  # manual
            both = self.optimizers()
            assert isinstance(both, list)
            for optimizer in both if batch_idx % 2 else both[:1]:
                optimizer.zero_grad()
                self.manual_backward(self.loss(batch))
                optimizer.step()

        def configure_optimizers(self) -> list[torch.optim.Optimizer]:  # type: ignore[override]  # several
            return [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in (self.net[0], self.net[1])]

    ema = EMACallback()
    make_trainer(ema, max_epochs=1).fit(Adversarial(), loader())
    assert ema.state_dict() == {"num_steps": 6}


def test_optimizer_is_left_without_hooks(make_trainer: Callable[..., pl.Trainer]) -> None:
    trainer = make_trainer(EMACallback())
    trainer.fit(Classifier(), loader())
    assert not trainer.optimizers[0]._optimizer_step_post_hooks


# -- several runs ------------------------------------------------------------------------------------------------


def test_second_fit_of_the_same_module_goes_on(make_trainer: Callable[..., pl.Trainer]) -> None:
    ema, reference, model = EMACallback(0.9), Reference(0.9), Classifier()
    trainer = make_trainer(ema, reference, max_epochs=1)
    trainer.fit(model, loader())
    average = reference.average
    trainer.fit_loop.max_epochs = 2
    reference.on_fit_start = lambda *args: None  # type: ignore[method-assign]  # keeps its average
    trainer.fit(model, loader())
    assert reference.average is average
    torch.testing.assert_close(ema.ema_state_dict, reference.average)
    assert ema.state_dict() == {"num_steps": 12}


def test_fit_of_another_module_starts_a_new_average(make_trainer: Callable[..., pl.Trainer]) -> None:
    ema, first, second = EMACallback(0.9), Classifier(), Classifier(seed=5, num_features=4)
    make_trainer(ema).fit(first, loader())
    weights = snapshot(first)
    assert make_trainer(ema).test(second, loader(8), verbose=False) == make_trainer().test(
        second, loader(8), verbose=False
    )
    reference = Reference(0.9)
    make_trainer(ema, reference).fit(second, loader(), loader(8))
    torch.testing.assert_close(ema.ema_state_dict, reference.average)
    assert_same(snapshot(first), weights)


# -- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [FSDPStrategy, ModelParallelStrategy])
def test_refuses_sharded_weights(make_trainer: Callable[..., pl.Trainer], strategy: Callable[[], Any]) -> None:
    trainer = make_trainer()
    # Lightning accepts these strategies only with GPUs.
    trainer._accelerator_connector.strategy = strategy()
    with pytest.raises(ConfigError, match="sharded between processes"):
        EMACallback().setup(trainer, Classifier(), "fit")


def test_refuses_checkpoints_of_weights_only(make_trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    trainer = make_trainer(EMACallback(), ModelCheckpoint(tmp_path, save_weights_only=True))
    with pytest.raises(ConfigError, match="save_weights_only=True"):
        trainer.fit(Classifier(), loader())
