"""A training that diverges ends soon, with one line, and leaves finite checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model, make_trainer

from classifier_training.callbacks.checkpoint import AtomicCheckpointIO, RunCheckpoint
from classifier_training.callbacks.ema import EMACallback
from classifier_training.callbacks.loss_watch import LossWatch
from classifier_training.errors import DivergedError
from classifier_training.models.finite import first_not_finite
from classifier_training.models.losses import ClassificationLoss

pytestmark = LIGHTNING_NOTICES


class Poison(lightning.Callback):
    """Makes the images of a step, or the weights after it, NaN."""

    def __init__(self, step: int, *, weights: bool = False) -> None:
        self.step, self.weights = step, weights

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not self.weights and trainer.global_step == self.step:
            batch["images"].mul_(torch.nan)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.weights and trainer.global_step == self.step + 1:
            with torch.no_grad():
                next(pl_module.parameters()).mul_(torch.nan)


def fit(folder: Path, *callbacks: lightning.Callback, num_batches: int = 4, **options: Any) -> lightning.Trainer:
    """Three epochs, resumed where there is a ``last.ckpt``."""
    checkpoint = RunCheckpoint(folder, monitor="val/loss", mode="min", every_n_steps=options.pop("every", None))
    settings: dict[str, Any] = {"max_epochs": 3, "enable_checkpointing": True, "plugins": [AtomicCheckpointIO()]}
    trainer = make_trainer(folder, EMACallback(0.9), *callbacks, checkpoint, **settings | options)
    last = folder / "last.ckpt"
    resumed = last if last.is_file() else None
    trainer.fit(make_model(), make_loader(num_batches), make_loader(1), ckpt_path=resumed, weights_only=True)
    return trainer


def checkpoints(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.ckpt")}


@pytest.mark.parametrize(
    ("poison", "every", "message"),
    [
        (Poison(5), None, r"in epoch 2, step 8: the loss of this epoch is nan"),
        (Poison(7, weights=True), None, r"in epoch 2, step 8: training_state_dict\.\S+ is not finite"),
        (
            Poison(4, weights=True),
            1,
            r"in epoch 2, step 5: training_state_dict\.\S+ is not finite|step 5: state_dict\.\S+",
        ),
    ],
    ids=["a loss", "weights after the last step", "weights before a checkpoint of a step"],
)
def test_what_is_not_finite_is_never_written(tmp_path: Path, poison: Poison, every: int | None, message: str) -> None:
    fit(tmp_path, max_epochs=1, every=every)
    before = checkpoints(tmp_path)
    assert set(before) >= {"best.ckpt", "last.ckpt"}

    with pytest.raises(DivergedError, match=f"training diverged {message}; lower optimizer.lr") as caught:
        fit(tmp_path, poison, every=every)

    assert "\n" not in str(caught.value)
    assert checkpoints(tmp_path) == before
    for path in tmp_path.glob("*.ckpt"):
        assert first_not_finite(torch.load(path, weights_only=True)) is None
    assert fit(tmp_path).current_epoch == 3, "it goes on from what is finite"


def test_the_best_epoch_is_never_one_without_a_number(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="in epoch 1"):
        fit(tmp_path, Poison(3, weights=True))
    assert checkpoints(tmp_path) == {}


def test_a_loss_that_is_not_a_number_ends_the_epoch_within_seconds(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"in epoch 1, step 3: the loss is nan since a step of the last seconds"):
        fit(tmp_path, Poison(2), LossWatch(seconds=0))
    with pytest.raises(DivergedError, match=r"in epoch 1, step 4: the loss of this epoch is nan"):
        fit(tmp_path, Poison(2), LossWatch(seconds=1_000))
    assert fit(tmp_path, LossWatch(seconds=0), max_epochs=1).current_epoch == 1


@pytest.mark.parametrize("num_skipped", [0, 2])
def test_a_step_that_the_scaler_skips_does_not_count_into_the_loss(tmp_path: Path, num_skipped: int) -> None:
    class Overflow(ClassificationLoss):
        def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            loss = super().forward(logits, labels)
            losses.append(loss.detach())
            return loss * (torch.inf if len(losses) <= num_skipped else 1.0)

    losses: list[torch.Tensor] = []
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    plugins = [lightning.pytorch.plugins.MixedPrecision("16-mixed", "cpu", scaler=scaler)]
    trainer = make_trainer(tmp_path, EMACallback(0.9), LossWatch(seconds=0), plugins=plugins)
    model = make_model()
    model.loss = Overflow(model.loss.config)

    trainer.fit(model, make_loader(5), make_loader(1))

    counted = torch.stack(losses[num_skipped:])
    assert len(losses) == 5
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(float(counted.mean()), rel=1e-6)
    assert model.train_loss.weight == 8 * (5 - num_skipped)
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == 5 - num_skipped


def test_an_epoch_of_skipped_steps_alone_has_diverged(tmp_path: Path) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    plugins = [lightning.pytorch.plugins.MixedPrecision("16-mixed", "cpu", scaler=scaler)]

    class Overflow(lightning.Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            batch["images"].mul_(torch.inf)

    with pytest.raises(DivergedError, match=r"the loss of this epoch is nan.*trainer\.precision=32-true"):
        make_trainer(tmp_path, Overflow(), plugins=plugins).fit(make_model(), make_loader(3), make_loader(1))
