"""Checkpoints that hold the average, and runs that go on from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.layer_sync import LayerSync, TorchSyncBatchNorm
from tests.helpers.averages import EMA_NOTICES, Classifier, Recorder, Reference, differs, floating, loader
from tests.helpers.training import ConvertingStrategy, assert_same, snapshot
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import ConcatDataset, DataLoader

from classifier_training.callbacks.ema import EMACallback
from classifier_training.models.layer_sync import BatchNormSync

pytestmark = EMA_NOTICES


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


class Copying(BatchNormSync):
    """Converts as torch does, to layers with buffers of their own, as those that are moved to a GPU are."""

    def apply(self, model: nn.Module) -> nn.Module:
        for name, layer in [(name, layer) for name, layer in model.named_modules() if isinstance(layer, _BatchNorm)]:
            kind = nn.SyncBatchNorm if type(layer) is nn.BatchNorm1d else nn.BatchNorm1d
            converted = kind(layer.num_features)
            converted.load_state_dict(layer.state_dict())
            converted.weight, converted.bias = layer.weight, layer.bias
            model.set_submodule(name, converted.train(layer.training))
        return model

    revert = apply


@pytest.mark.parametrize("layer_sync", [TorchSyncBatchNorm, BatchNormSync, Copying])
def test_a_resumed_run_on_several_gpus_averages_what_the_uninterrupted_one_does(
    make_trainer: Callable[..., pl.Trainer], tmp_path: Path, layer_sync: type[LayerSync]
) -> None:
    """Modules are replaced after the checkpoint was read, and put back after fit."""

    def fit(model: Classifier, max_epochs: int, checkpoint: Path | None = None) -> EMACallback:
        ema, reference = EMACallback(0.9), Reference(0.9)
        strategy = ConvertingStrategy(layer_sync())
        trainer = make_trainer(ema, reference, max_epochs=max_epochs, strategy=strategy, num_sanity_val_steps=0)
        trainer.fit(model, loader(), loader(8), ckpt_path=checkpoint, weights_only=True)
        if checkpoint is None:
            torch.testing.assert_close(floating(ema.ema_state_dict), floating(reference.average))
        trainer.save_checkpoint(tmp_path / f"{max_epochs}.ckpt")
        return ema

    whole, first, rest = Classifier(), Classifier(), Classifier(seed=5)
    average = fit(whole, 4)
    (tmp_path / "4.ckpt").unlink()
    fit(first, 2)
    resumed = fit(rest, 4, tmp_path / "2.ckpt")

    assert_same(resumed.ema_state_dict, average.ema_state_dict)
    assert_same(snapshot(rest), snapshot(whole))
    assert differs(resumed.ema_state_dict, snapshot(rest))
    assert isinstance(whole.net[1], nn.modules.batchnorm._BatchNorm)
    assert not isinstance(whole.net[1], nn.SyncBatchNorm)


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
