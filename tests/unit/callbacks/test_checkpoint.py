"""RunCheckpoint through a real Trainer; what is resumed is compared with what was never interrupted."""

from __future__ import annotations

import errno
import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import lightning
import pytest
import torch
from tests.helpers.training import (
    LIGHTNING_NOTICES,
    KillAfter,
    KilledError,
    fit_photos,
    make_trainer,
)
from torch import Tensor
from torch.utils.data import DataLoader

from classifier_training.callbacks import checkpoint as checkpoint_module
from classifier_training.callbacks.checkpoint import AtomicCheckpointIO, RunCheckpoint
from classifier_training.errors import ConfigError

pytestmark = LIGHTNING_NOTICES


class Scored(lightning.LightningModule):
    """Logs a given score after every epoch; its weight counts the steps."""

    def __init__(self, scores: list[float], name: str = "val/top1", losses: list[float] | None = None) -> None:
        super().__init__()
        self.given, self.name_of_score, self.losses = scores, name, losses
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return -self.weight.sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log(self.name_of_score, torch.tensor(self.given[self.current_epoch], dtype=torch.float64))
        if self.losses is not None:
            self.log("val/loss", torch.tensor(self.losses[self.current_epoch]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def batches(num_batches: int = 3) -> DataLoader[Tensor]:
    return DataLoader(cast("Any", torch.zeros(num_batches, 1)))


def fit(
    folder: Path,
    scores: list[float],
    *callbacks: lightning.Callback,
    losses: list[float] | None = None,
    **options: Any,
) -> RunCheckpoint:
    """Three steps an epoch, one epoch a score; goes on where there is a ``last.ckpt``."""
    checkpoint = RunCheckpoint(folder, **options)
    model = Scored(scores, checkpoint.monitor, losses)
    trainer = make_trainer(
        folder,
        *callbacks,
        checkpoint,
        max_epochs=len(scores),
        enable_checkpointing=True,
        gradient_clip_val=None,
        plugins=[AtomicCheckpointIO()],
    )
    last = folder / "last.ckpt"
    trainer.fit(model, batches(), batches(1), ckpt_path=last if last.is_file() else None, weights_only=True)
    return checkpoint


def weight_in(path: Path) -> float:
    return float(torch.load(path, weights_only=True)["state_dict"]["weight"])


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0.1, 0.5, 0.3], 1), ([0.5, 0.4, 0.3], 0), ([0.1, 0.2, 0.3], 2), ([0.4, 0.4, 0.4], 0), ([0.1, 0.4, 0.4], 1)],
)
def test_best_holds_the_best_epoch_and_a_tie_keeps_the_earlier(tmp_path: Path, scores: list[float], best: int) -> None:
    checkpoint = fit(tmp_path, scores)
    assert (checkpoint.best_epoch, checkpoint.best_model_score) == (best, scores[best])
    assert weight_in(tmp_path / "best.ckpt") == 3 * (best + 1)
    assert weight_in(tmp_path / "last.ckpt") == 9
    assert (checkpoint.best_model_path, checkpoint.last_model_path) == tuple(
        str(tmp_path / name) for name in ("best.ckpt", "last.ckpt")
    )


@pytest.mark.parametrize(
    ("losses", "best"),
    [([0.3, 0.2, 0.9], 1), ([0.2, 0.2, 0.1], 0), ([0.3, math.nan, 0.1], 0)],
)
def test_of_equal_scores_the_lower_loss_is_better(tmp_path: Path, losses: list[float], best: int) -> None:
    checkpoint = fit(tmp_path, [0.5, 0.5, 0.4], losses=losses)
    assert checkpoint.best_epoch == best


def test_a_resumed_run_does_not_forget_the_loss_of_its_best_epoch(tmp_path: Path) -> None:
    scores, losses = [0.5, 0.4, 0.5, 0.5], [0.2, 0.1, 0.3, 0.1]
    with pytest.raises(KilledError):
        fit(tmp_path, scores, KillAfter(7), losses=losses)
    checkpoint = fit(tmp_path, scores, losses=losses)
    assert checkpoint.best_epoch == 3
    assert checkpoint.best_loss == pytest.approx(0.1)


def test_a_loss_is_best_when_it_is_lowest(tmp_path: Path) -> None:
    checkpoint = fit(tmp_path, [0.5, 0.1, 0.1, 0.3], monitor="val/loss", mode="min")
    assert (checkpoint.best_epoch, checkpoint.best_model_score) == (1, 0.1)


def test_of_equal_scores_the_one_with_the_lowest_loss_is_best_also_after_a_resume(tmp_path: Path) -> None:
    scores, losses = [0.9, 1.0, 1.0, 1.0, 1.0], [0.1, 0.6, 0.3, 0.5, 0.2]
    assert fit(tmp_path / "whole", scores, losses=losses).best_epoch == 4
    assert fit(tmp_path / "parts", scores[:3], losses=losses[:3]).best_epoch == 2
    resumed = fit(tmp_path / "parts", scores, losses=losses)
    assert (resumed.best_epoch, resumed.best_model_score) == (4, 1.0)
    assert fit(tmp_path / "worse", [1.0, 1.0], losses=[0.2, 0.3]).best_epoch == 0


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_score_that_is_no_number_is_never_better(tmp_path: Path, mode: Any) -> None:
    checkpoint = fit(tmp_path, [math.nan, 0.3, math.nan], mode=mode)
    assert (checkpoint.best_epoch, checkpoint.best_model_score) == (1, 0.3)


@pytest.mark.parametrize(("keep", "steps"), [(1, [9]), (2, [9, 9]), (4, [9, 9, 8, 7])])
def test_so_many_of_the_last_ones_are_kept(tmp_path: Path, keep: int, steps: list[int]) -> None:
    """That of the last step before validation, and after it, are two."""
    fit(tmp_path, [0.1, 0.5, 0.3], every_n_steps=1, keep_last=keep)
    names = ["last.ckpt", *(f"last-{number}.ckpt" for number in range(1, keep))]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["best.ckpt", *names])
    assert [weight_in(tmp_path / name) for name in names] == steps


def test_a_later_epoch_does_not_reach_into_the_best_checkpoint(tmp_path: Path) -> None:
    """After a best epoch, ``last.ckpt`` is a second name of the same file."""
    fit(tmp_path, [0.1, 0.5])
    assert (tmp_path / "best.ckpt").samefile(tmp_path / "last.ckpt")
    fit(tmp_path, [0.1, 0.5, 0.2])
    assert (weight_in(tmp_path / "best.ckpt"), weight_in(tmp_path / "last.ckpt")) == (6, 9)


def test_without_hard_links_the_last_checkpoint_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    fit(tmp_path, [0.1, 0.5])
    assert not (tmp_path / "best.ckpt").samefile(tmp_path / "last.ckpt")
    assert (tmp_path / "best.ckpt").read_bytes() == (tmp_path / "last.ckpt").read_bytes()


def test_a_monitored_metric_that_nobody_logs_is_named_with_those_that_are(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, RunCheckpoint(tmp_path, "val/f1"), enable_checkpointing=True)
    with pytest.raises(ConfigError, match=r"checkpoint\.monitor='val/f1' was not logged; logged were val/top1"):
        trainer.fit(Scored([0.5]), batches(), batches(1))


@pytest.mark.parametrize(
    "arguments",
    [
        *({"mode": "maximum"}, {"every_n_steps": 0}, {"every_n_steps": -1}, {"every_n_minutes": 0.0}),
        *({"every_n_minutes": -1.0}, {"every_n_minutes": math.nan}, {"keep_last": 0}),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(arguments))}={next(iter(arguments.values()))!r}; allowed are"):
        RunCheckpoint(tmp_path, **arguments)


class LastWritten(lightning.Callback):
    """The step of ``last.ckpt`` at the start of every batch; None while there is none."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "last.ckpt"
        self.steps: list[float | None] = []

    def on_train_batch_start(self, *arguments: Any) -> None:
        self.steps.append(weight_in(self.path) if self.path.is_file() else None)


def test_last_is_written_every_n_steps_too(tmp_path: Path) -> None:
    seen = LastWritten(tmp_path)
    fit(tmp_path, [0.2, 0.1], seen, every_n_steps=2)
    # batch:        0     1     2  | 3  4  5   — step 2 in the middle, step 3 at the end of the epoch, then step 4
    assert seen.steps == [None, None, 2, 3, 4, 4]


def test_without_every_n_steps_last_is_written_once_an_epoch(tmp_path: Path) -> None:
    seen = LastWritten(tmp_path)
    fit(tmp_path, [0.2, 0.1], seen)
    assert seen.steps == [None, None, None, 3, 3, 3]


class Clock:
    """Stands still, unless a training moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Pace(lightning.Callback):
    """Lets a training batch take 20 seconds."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_start(self, *arguments: Any) -> None:
        self.clock.now += 20


@pytest.mark.parametrize(
    ("every_n_minutes", "expected"),
    [
        # batch:   0     1     2     3  4  5
        (2 / 3, [None, None, 2, 3, 3, 5]),
        (0.5, [None, None, 2, 3, 3, 5]),
        (1 / 3, [None, 1, 2, 3, 4, 5]),
        (9.0, [None, None, None, 3, 3, 3]),
    ],
)
def test_last_is_written_every_n_minutes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_n_minutes: float, expected: list[float | None]
) -> None:
    clock = Clock()
    monkeypatch.setattr(checkpoint_module, "time", clock)
    seen = LastWritten(tmp_path)
    fit(tmp_path, [0.2, 0.1], Pace(clock), seen, every_n_minutes=every_n_minutes)
    assert seen.steps == expected


def test_what_is_due_at_the_last_step_is_written_before_validation(tmp_path: Path) -> None:
    found: list[dict[str, Any]] = []

    class Look(lightning.Callback):
        def on_validation_batch_start(self, *arguments: Any) -> None:
            found.append(torch.load(tmp_path / "last.ckpt", weights_only=True))

    fit(tmp_path, [0.2], Look(), every_n_steps=3)
    assert [(one["global_step"], one["validation_left"]) for one in found] == [(3, True)]
    assert "validation_left" not in torch.load(tmp_path / "last.ckpt", weights_only=True)


class LookAtSaved(lightning.Callback):
    """Steps, and batches of the epoch, of every checkpoint."""

    def __init__(self) -> None:
        self.saved: list[tuple[int, int]] = []

    def on_save_checkpoint(self, trainer: lightning.Trainer, module: Any, content: dict[str, Any]) -> None:
        self.saved.append((content["global_step"], content["ImageFolderDataModule"]["batch"]))


def test_gradients_in_the_making_are_not_saved_by_steps(tmp_path: Path, photos: Path) -> None:
    """Neither at the start nor right after a resume, when no step of this process was saved before."""
    look = LookAtSaved()
    options: dict[str, Any] = {"accumulate_grad_batches": 2, "every_n_steps": 1}
    with pytest.raises(KilledError):
        fit_photos(tmp_path, photos, look, KillAfter(3), **options)
    fit_photos(tmp_path, photos, look, max_epochs=1, **options)
    assert look.saved == [(1, 2), (2, 4), (3, 0), (3, 0)], "the last step twice: before and after validation"


def test_gradients_in_the_making_are_not_saved_by_time(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, look = Clock(), LookAtSaved()
    monkeypatch.setattr(checkpoint_module, "time", clock)
    options: dict[str, Any] = {"accumulate_grad_batches": 2, "every_n_minutes": 1.0, "max_epochs": 1}
    fit_photos(tmp_path, photos, look, Pace(clock), **options)
    assert look.saved == [(2, 4), (3, 0)], "a minute is over after three batches, the step after four"


def test_a_resumed_run_does_not_forget_its_best_score(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        fit(tmp_path, [0.2, 0.9, 0.3, 0.4], KillAfter(7))
    checkpoint = fit(tmp_path, [0.2, 0.9, 0.3, 0.4])
    assert (checkpoint.best_epoch, checkpoint.best_model_score) == (1, 0.9)
    assert (weight_in(tmp_path / "best.ckpt"), weight_in(tmp_path / "last.ckpt")) == (6, 12)


def test_a_moved_run_resumes_in_its_new_location(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    with pytest.raises(KilledError):
        fit(before, [0.2, 0.1, 0.3], KillAfter(7))
    shutil.move(before, after)
    checkpoint = fit(after, [0.2, 0.1, 0.3])
    assert checkpoint.best_model_path == str(after / "best.ckpt")
    assert (weight_in(after / "best.ckpt"), weight_in(after / "last.ckpt")) == (9, 9)
    assert not before.exists()


def test_its_state_holds_no_path(tmp_path: Path) -> None:
    checkpoint = fit(tmp_path, [0.5])
    assert checkpoint.state_dict() == {"best_model_score": 0.5, "best_epoch": 0, "best_loss": None}
    assert str(tmp_path).encode() not in (tmp_path / "last.ckpt").read_bytes()


def test_there_is_no_path_before_there_is_a_file(tmp_path: Path) -> None:
    checkpoint = RunCheckpoint(tmp_path)
    assert (checkpoint.best_model_path, checkpoint.last_model_path) == ("", "")


# -- whole or not at all ---------------------------------------------------------------------------------------------

BIG = {"weights": torch.ones(1_000_000)}


@pytest.fixture
def file_size_limit() -> Iterator[None]:
    """No file may grow beyond 1 MiB; Python turns the signal into an OSError."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip(f"cannot mount a small disk: {mount.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_the_old_checkpoint_whole(small_disk: Path) -> None:
    path = small_disk / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    with pytest.raises(OSError, match="No space left") as caught:
        AtomicCheckpointIO().save_checkpoint(BIG, path)
    assert caught.value.errno == errno.ENOSPC
    assert [file.name for file in small_disk.iterdir()] == ["last.ckpt"]
    assert torch.load(path, weights_only=True) == {"epoch": 1}


@pytest.mark.usefixtures("file_size_limit")
def test_a_checkpoint_that_may_not_be_written_leaves_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    with pytest.raises(OSError, match="File too large") as caught:
        AtomicCheckpointIO().save_checkpoint(BIG, path)
    assert caught.value.errno == errno.EFBIG
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
    assert torch.load(path, weights_only=True) == {"epoch": 1}


def test_a_run_on_a_full_disk_stops_and_leaves_no_half_checkpoint(small_disk: Path, photos: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        fit_photos(small_disk, photos)
    assert not [file.name for file in small_disk.iterdir() if file.suffix != ".csv"]


def test_options_for_other_storage_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="storage_options"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "x.ckpt", storage_options={"bucket": 1})
