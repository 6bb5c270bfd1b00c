"""EMACallback through a real Trainer, compared with the formula written out step by step."""

from __future__ import annotations

import copy
import pickle
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

from classifier_training.callbacks.ema import EMACallback
from classifier_training.errors import ClassifierTrainingError, ConfigError

State = dict[str, Tensor]


class Classifier(pl.LightningModule):
    """A linear layer, BatchNorm and a tied head; a test may look on at every step."""

    mask: Tensor

    def __init__(self, seed: int = 0, num_features: int = 4) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(num_features, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4))
        self.net[3].weight = self.net[0].weight
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        self.on_step: Callable[[str], None] = lambda stage: None

    @property
    def weight(self) -> Tensor:
        return cast("nn.Linear", self.net[0]).weight

    def forward(self, images: Tensor) -> Tensor:
        return cast("Tensor", self.net(images))

    def loss(self, batch: list[Tensor]) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        self.on_step("train")
        return self.loss(batch)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.on_step("val")
        self.log("val/loss", self.loss(batch))

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.on_step("test")
        self.log("test/loss", self.loss(batch))

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.forward(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.05)


class Reference(pl.Callback):
    """The weights after every optimizer step, counted by Lightning, and the average of them by its formula."""

    def __init__(self, decay: float, warmup_steps: int = 0) -> None:
        self.decay, self.warmup_steps = decay, warmup_steps
        self.average: State = {}
        self.steps = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.average = snapshot(pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        if trainer.global_step == self.steps:
            return
        self.steps = trainer.global_step
        t = self.steps - self.warmup_steps
        decay = min(self.decay, (1 + t) / (10 + t)) if t >= 1 else 0.0
        for key, weight in snapshot(pl_module).items():
            average = self.average[key]
            averaged = weight.is_floating_point() and key != "mask"
            self.average[key] = decay * average + (1 - decay) * weight if averaged else weight


def snapshot(module: nn.Module) -> State:
    return {key: value.clone() for key, value in module.state_dict().items()}


def floating(state: State) -> State:
    return {key: value for key, value in state.items() if value.is_floating_point()}


def assert_same(actual: State, expected: State) -> None:
    """Bit for bit."""
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(actual[key], value), key


def differs(one: State, other: State) -> bool:
    return any(not torch.equal(one[key], other[key]) for key in one)


def loader(num_samples: int = 24, num_features: int = 4) -> DataLoader[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(num_samples, num_features, generator=generator)
    return DataLoader(TensorDataset(images, torch.arange(num_samples) % 4), batch_size=4)


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., pl.Trainer]:
    def make(*callbacks: pl.Callback, **options: Any) -> pl.Trainer:
        checkpointing = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
        defaults: dict[str, Any] = {
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 2,
            "logger": False,
            "enable_checkpointing": checkpointing,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
        }
        return pl.Trainer(callbacks=list(callbacks), **(defaults | options))

    return make


# What Lightning says about a data loader without worker processes is no concern here.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used"),
    pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable"),
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*is deprecated:FutureWarning"),
]


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


# -- the exchange ------------------------------------------------------------------------------------------------


def test_validation_scores_average_without_copying_and_training_goes_on(
    make_trainer: Callable[..., pl.Trainer],
) -> None:
    ema, model = EMACallback(0.9), Classifier()
    pointers: dict[str, set[int]] = {"train": set(), "val": set()}
    seen: list[bool] = []

    def note(stage: str) -> None:
        pointers[stage].add(model.weight.data_ptr())
        if stage == "val":
            seen.append(differs(ema.ema_state_dict, snapshot(model)))

    model.on_step = note
    trainer = make_trainer(ema, val_check_interval=3)
    trainer.fit(model, loader(), loader(8))
    assert seen
    assert not any(seen)
    assert len(pointers["train"]) == len(pointers["val"]) == 1
    assert pointers["train"].isdisjoint(pointers["val"])
    assert model.weight.data_ptr() in pointers["train"]


def test_validation_leaves_no_trace_in_training(make_trainer: Callable[..., pl.Trainer]) -> None:
    plain, averaged = Classifier(), Classifier()
    make_trainer().fit(plain, loader(), loader(8))
    make_trainer(EMACallback()).fit(averaged, loader(), loader(8))
    assert_same(snapshot(averaged), snapshot(plain))


class Interrupted(Exception):  # noqa: N818 - stands for any exception
    """Raised in the midst of a run."""


@pytest.fixture
def keep_sigint() -> Iterator[None]:
    """Lightning ignores SIGINT after a KeyboardInterrupt."""
    previous = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, previous)


class Recorder(pl.Callback):
    """Keeps a copy of the weights as of the last training batch."""

    def __init__(self) -> None:
        self.weights: State = {}

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        self.weights = snapshot(pl_module)


@pytest.mark.usefixtures("keep_sigint")
@pytest.mark.parametrize(("error", "raised"), [(Interrupted, Interrupted), (KeyboardInterrupt, SystemExit)])
def test_interrupted_validation_leaves_training_weights(
    make_trainer: Callable[..., pl.Trainer], error: type[BaseException], raised: type[BaseException]
) -> None:
    ema, recorder, model = EMACallback(0.9), Recorder(), Classifier()

    def fail(stage: str) -> None:
        if stage == "val" and recorder.weights:
            assert_same(snapshot(model), ema.ema_state_dict)
            raise error

    model.on_step = fail
    trainer = make_trainer(ema, recorder)
    with pytest.raises(raised):
        trainer.fit(model, loader(), loader(8))
    assert_same(snapshot(model), recorder.weights)
    assert differs(ema.ema_state_dict, recorder.weights)
    assert not trainer.optimizers[0]._optimizer_step_post_hooks


def test_interrupt_within_the_exchange_is_mended(make_trainer: Callable[..., pl.Trainer]) -> None:
    """Ctrl-C may come between any two weights."""
    ema, model = EMACallback(), Classifier()
    trainer = make_trainer(ema)
    trainer.fit(model, loader())
    weights, average = snapshot(model), ema.ema_state_dict
    inner: Any = ema._average
    look_up = inner._weights

    def swap_in_and_out() -> None:
        ema.on_validation_start(trainer, model)
        ema.on_validation_end(trainer, model)

    def interrupted_after(num_weights: int) -> Callable[[], list[Tensor]]:
        remaining = iter(range(num_weights))

        class Weights(list[Tensor]):
            def __iter__(self) -> Iterator[Tensor]:
                for weight in super().__iter__():
                    if next(remaining, None) is None:
                        raise KeyboardInterrupt
                    yield weight

        return lambda: Weights(look_up())

    num_interrupts = 0
    while True:
        inner._weights = interrupted_after(num_interrupts)
        try:
            swap_in_and_out()
        except KeyboardInterrupt:
            num_interrupts += 1
        else:
            break
        finally:
            inner._weights = look_up
        ema.on_exception(trainer, model, KeyboardInterrupt())
        assert_same(snapshot(model), weights)
        assert_same(ema.ema_state_dict, average)
    assert num_interrupts >= 2 * len(look_up())


def test_swaps_are_idempotent(make_trainer: Callable[..., pl.Trainer]) -> None:
    ema, model = EMACallback(), Classifier()
    trainer = make_trainer(ema)
    trainer.fit(model, loader())
    weights, average = snapshot(model), ema.ema_state_dict
    for _ in range(2):
        ema.on_test_start(trainer, model)
        assert_same(snapshot(model), average)
    for _ in range(2):
        ema.on_test_end(trainer, model)
        assert_same(snapshot(model), weights)


@pytest.mark.parametrize("inference_mode", [True, False])
def test_all_evaluations_after_fit_use_the_average(
    make_trainer: Callable[..., pl.Trainer], inference_mode: bool
) -> None:
    ema, model = EMACallback(0.9), Classifier()
    trainer = make_trainer(ema, inference_mode=inference_mode)
    trainer.fit(model, loader(), loader(8))
    weights = snapshot(model)
    plain = Classifier()
    plain.load_state_dict(ema.ema_state_dict)
    evaluator = make_trainer()
    assert trainer.test(model, loader(8), verbose=False) == evaluator.test(plain, loader(8), verbose=False)
    assert trainer.validate(model, loader(8), verbose=False) == evaluator.validate(plain, loader(8), verbose=False)
    predicted, expected = trainer.predict(model, loader(8)), evaluator.predict(plain, loader(8))
    assert predicted is not None
    assert expected is not None
    assert torch.equal(torch.cat(predicted), torch.cat(expected))  # type: ignore[arg-type]  # one list of tensors
    assert_same(snapshot(model), weights)
    model.train()
    loss = model.loss(next(iter(loader())))
    assert torch.autograd.grad(loss, model.weight)[0].any()


def test_compiled_in_place(make_trainer: Callable[..., pl.Trainer]) -> None:
    def train(compiled: bool) -> tuple[State, State, float]:
        ema, model = EMACallback(0.9), Classifier()
        if compiled:
            model.net.compile(backend="aot_eager")
        trainer = make_trainer(ema)
        trainer.fit(model, loader(), loader(8))
        return ema.ema_state_dict, snapshot(model), float(trainer.callback_metrics["val/loss"])

    (average, weights, score), (expected_average, expected_weights, expected_score) = train(True), train(False)
    torch.testing.assert_close(average, expected_average)
    torch.testing.assert_close(weights, expected_weights)
    assert score == pytest.approx(expected_score)


# -- checkpoints -------------------------------------------------------------------------------------------------


def test_best_checkpoint_holds_the_weights_that_were_scored(
    make_trainer: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    checkpoints = ModelCheckpoint(tmp_path, monitor="val/loss", save_last=True)
    ema, model = EMACallback(0.9), Classifier()
    trainer = make_trainer(checkpoints, ema, max_epochs=4)
    trainer.fit(model, loader(), loader(8))
    checkpoint = torch.load(checkpoints.best_model_path, weights_only=True)
    fresh = Classifier(seed=5)
    fresh.load_state_dict(checkpoint["state_dict"])
    (scores,) = make_trainer().validate(fresh, loader(8), verbose=False)
    assert scores["val/loss"] == checkpoints.best_model_score
    last = torch.load(checkpoints.last_model_path, weights_only=True)
    assert_same(last["state_dict"], ema.ema_state_dict)
    assert_same(last["training_state_dict"], snapshot(model))


@pytest.mark.parametrize("resume_at", ["within an epoch", "end of epoch"])
def test_resumed_run_equals_uninterrupted_run(
    make_trainer: Callable[..., pl.Trainer], tmp_path: Path, resume_at: str
) -> None:
    steps = {"every_n_train_steps": 3} if resume_at == "within an epoch" else {"every_n_epochs": 2}

    def keep(folder: Path) -> ModelCheckpoint:
        return ModelCheckpoint(folder, save_top_k=-1, filename="{step}", **steps)  # type: ignore[arg-type]  # one of two

    options: dict[str, Any] = {"max_epochs": 4, "accumulate_grad_batches": 2, "num_sanity_val_steps": 0}
    ema, model = EMACallback(0.9, warmup_steps=2), Classifier()
    # Lightning starts the epoch's data from its beginning after a checkpoint within it: so all batches are alike.
    num_samples, num_batches = (4, 8) if resume_at == "within an epoch" else (32, 1)
    train_loader: DataLoader[tuple[Tensor, ...]] = DataLoader(
        ConcatDataset([loader(num_samples).dataset] * num_batches), batch_size=4
    )
    make_trainer(ema, keep(tmp_path), **options).fit(model, train_loader, loader(8))
    path = tmp_path / ("step=3.ckpt" if resume_at == "within an epoch" else "step=8.ckpt")

    resumed, other = EMACallback(0.9, warmup_steps=2), Classifier(seed=5)
    trainer = make_trainer(resumed, keep(tmp_path), **options)
    trainer.fit(other, train_loader, loader(8), ckpt_path=path, weights_only=True)
    assert_same(resumed.ema_state_dict, ema.ema_state_dict)
    assert_same(snapshot(other), snapshot(model))
    assert resumed.state_dict() == ema.state_dict()


def test_checkpoint_saved_after_fit_and_during_validation(
    make_trainer: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    ema, recorder, model = EMACallback(0.9), Recorder(), Classifier()
    trainer = make_trainer(ema, recorder)

    def save(stage: str) -> None:
        if stage == "val" and recorder.weights:
            trainer.save_checkpoint(tmp_path / "within.ckpt")
            assert_same(snapshot(model), ema.ema_state_dict)

    model.on_step = save
    trainer.fit(model, loader(), loader(8))
    trainer.save_checkpoint(tmp_path / "after.ckpt")
    for name in ("within.ckpt", "after.ckpt"):
        checkpoint = torch.load(tmp_path / name, weights_only=True)
        assert_same(checkpoint["state_dict"], ema.ema_state_dict)
        assert_same(checkpoint["training_state_dict"], snapshot(model))
        assert "ema_float32" not in checkpoint


def test_checkpoint_made_without_the_callback(make_trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    trainer, model = make_trainer(max_epochs=1), Classifier()
    trainer.fit(model, loader())
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    ema, reference, other = EMACallback(0.5), Reference(0.5), Classifier(seed=5)
    reference.steps = 6
    reference.warmup_steps = 6
    with pytest.warns(UserWarning, match="saved without EMACallback"):
        make_trainer(ema, reference).fit(other, loader(), ckpt_path=tmp_path / "plain.ckpt", weights_only=True)
    torch.testing.assert_close(ema.ema_state_dict, reference.average)
    assert ema.state_dict() == {"num_steps": 6}


def test_loaded_checkpoint_is_scored_as_it_is(make_trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    """Its state_dict is an average already; to put the last average in its place would score other weights."""
    ema, model = EMACallback(0.9), Classifier()
    trainer = make_trainer(ema, max_epochs=1)
    trainer.fit(model, loader(), loader(8))
    trainer.save_checkpoint(tmp_path / "first.ckpt")
    (expected,) = trainer.test(model, loader(8), verbose=False)
    trainer.fit_loop.max_epochs = 3
    trainer.fit(model, loader(), loader(8))
    (latest,) = trainer.test(model, loader(8), verbose=False)
    assert latest != expected
    last_average = ema.ema_state_dict

    options: dict[str, Any] = {"ckpt_path": tmp_path / "first.ckpt", "weights_only": True, "verbose": False}
    assert trainer.test(model, loader(8), **options) == [expected]
    assert trainer.test(model, loader(8), verbose=False) == [expected]
    assert_same(floating(ema.ema_state_dict), floating(last_average))
    assert ema.state_dict() == {"num_steps": 18}
    fresh = make_trainer(EMACallback())
    assert fresh.test(Classifier(seed=5), loader(8), **options) == [expected]


def test_weights_loaded_by_hand_are_scored_as_they_are(make_trainer: Callable[..., pl.Trainer]) -> None:
    ema, model, other = EMACallback(0.9), Classifier(), Classifier(seed=5)
    trainer = make_trainer(ema)
    trainer.fit(model, loader())
    model.load_state_dict(other.state_dict())
    assert trainer.test(model, loader(8), verbose=False) == make_trainer().test(other, loader(8), verbose=False)


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


def test_fit_of_another_module_starts_anew(make_trainer: Callable[..., pl.Trainer]) -> None:
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
