"""The exchange of weights and average around evaluation, whatever interrupts it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from tests.helpers.averages import EMA_NOTICES, Classifier, Recorder, State, differs, loader
from tests.helpers.training import assert_same, snapshot
from torch import Tensor

from classifier_training.callbacks.ema import EMACallback

pytestmark = EMA_NOTICES


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
    check_stop = inner._weights

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

        return lambda: Weights(check_stop())

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
            inner._weights = check_stop
        ema.on_exception(trainer, model, KeyboardInterrupt())
        assert_same(snapshot(model), weights)
        assert_same(ema.ema_state_dict, average)
    assert num_interrupts >= 2 * len(check_stop())


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
