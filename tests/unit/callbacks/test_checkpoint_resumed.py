"""A run that was killed and goes on from `RunCheckpoint`'s files ends like the one that was never interrupted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import lightning
import pytest
from tests.helpers.training import LIGHTNING_NOTICES, KillAfter, KilledError, assert_same_run, fit_photos

pytestmark = LIGHTNING_NOTICES


@pytest.mark.parametrize(
    ("every_n_steps", "kill_after"),
    [(1, 2), (1, 6), (1, 7), (1, 12), (4, 5), (4, 11), (4, 16), (None, 2), (None, 6), (None, 12)],
)
def test_a_killed_run_ends_as_if_it_had_not_been(
    tmp_path: Path, photos: Path, uninterrupted: Path, kill_after: int, every_n_steps: int | None
) -> None:
    with pytest.raises(KilledError):
        fit_photos(tmp_path, photos, KillAfter(kill_after), every_n_steps=every_n_steps)
    trainer = fit_photos(tmp_path, photos, every_n_steps=every_n_steps)
    assert trainer.global_step == 18
    assert_same_run(tmp_path, uninterrupted)


def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(
    tmp_path: Path, photos: Path, uninterrupted: Path
) -> None:
    for kill_after in (4, 3, 1, 6):
        with pytest.raises(KilledError):
            fit_photos(tmp_path, photos, KillAfter(kill_after), every_n_steps=1)
    fit_photos(tmp_path, photos)
    assert_same_run(tmp_path, uninterrupted)


class KillInValidation(lightning.Callback):
    def __init__(self, epoch: int, batch: int) -> None:
        self.at = (epoch, batch)

    def on_validation_batch_start(
        self, trainer: lightning.Trainer, module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if (trainer.current_epoch, batch_idx) == self.at:
            raise KilledError


@pytest.mark.parametrize(("at", "every_n_steps"), [((0, 0), 1), ((1, 0), 4), ((1, 1), 6), ((2, 1), 6)])
def test_a_run_killed_while_it_validates_ends_as_if_it_had_not_been(
    tmp_path: Path, photos: Path, uninterrupted: Path, at: tuple[int, int], every_n_steps: int
) -> None:
    for _ in range(2):
        with pytest.raises(KilledError):
            fit_photos(tmp_path, photos, KillInValidation(*at), every_n_steps=every_n_steps)
    fit_photos(tmp_path, photos, every_n_steps=every_n_steps)
    assert_same_run(tmp_path, uninterrupted)


def test_what_is_trained_is_not_trained_again_for_its_validation(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(KilledError):
        fit_photos(tmp_path, photos, KillInValidation(0, 1), every_n_steps=6)
    with pytest.raises(KilledError):
        fit_photos(tmp_path, photos, KillInValidation(0, 0), KillAfter(0))  # no batch is trained before validation


ACCUMULATING: dict[str, Any] = {"accumulate_grad_batches": 2, "every_n_steps": 1}


@pytest.fixture(scope="module")
def accumulated(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """A run that accumulates gradients, which nothing has interrupted."""
    folder = tmp_path_factory.mktemp("accumulated")
    fit_photos(folder, photos, **ACCUMULATING)
    return folder


@pytest.mark.parametrize("kill_after", [(1, 1), (3, 1), (4, 2), (8,)])
def test_a_run_that_accumulates_gradients_ends_as_if_it_had_not_been_killed(
    tmp_path: Path, photos: Path, accumulated: Path, kill_after: tuple[int, ...]
) -> None:
    for num_batches in kill_after:
        with pytest.raises(KilledError):
            fit_photos(tmp_path, photos, KillAfter(num_batches), **ACCUMULATING)
    fit_photos(tmp_path, photos, **ACCUMULATING)
    assert_same_run(tmp_path, accumulated)


def test_a_run_can_be_made_longer(tmp_path: Path, photos: Path) -> None:
    fit_photos(tmp_path, photos, max_epochs=1)
    trainer = fit_photos(tmp_path, photos, max_epochs=2)
    assert (trainer.current_epoch, trainer.global_step) == (2, 12)


def test_a_finished_run_that_is_resumed_changes_nothing(tmp_path: Path, photos: Path, uninterrupted: Path) -> None:
    shutil.copytree(uninterrupted, tmp_path, dirs_exist_ok=True)
    trainer = fit_photos(tmp_path, photos)
    assert trainer.global_step == 18
    assert_same_run(tmp_path, uninterrupted)
